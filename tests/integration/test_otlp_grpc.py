"""OTLP by gRPC to servers that misbehave: each ends in one of the three errors, with one line that says what is wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its servers' words, too

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from pythonaudit.errors import TargetError, UsageError
from pythonaudit.export.targets import (
    Answer,
    Misconfigured,
    Refused,
    Target,
    Unavailable,
    open_target,
    parse_address,
)
from tests import otlp
from tests.authority import Authority
from tests.conftest import ROOT
from tests.odd_servers import OddServer, answer, closed_port, http, serving
from tests.written import some_events

EVENTS = some_events(3)
SERVICE = "opentelemetry.proto.collector.logs.v1.LogsService"

Call = Callable[[bytes, Any], bytes]


@contextmanager
def grpc_server(call: Call, credentials: Any = None, service: str = SERVICE, port: int = 0) -> Iterator[int]:
    """A server of gRPC whose method takes and gives bytes; its port."""
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    handler = grpc.method_handlers_generic_handler(service, {"Export": grpc.unary_unary_rpc_method_handler(call)})
    server.add_generic_rpc_handlers((handler,))
    at = f"127.0.0.1:{port}"
    found = server.add_secure_port(at, credentials) if credentials else server.add_insecure_port(at)
    server.start()
    try:
        yield found
    finally:
        server.stop(None).wait()


def open_grpc(port: int, scheme: str = "otlp+grpc", **options: str) -> Target:
    found: Any = open_target(parse_address(f"{scheme}://127.0.0.1:{port}", {"timeout": "10", **options}))
    return found  # type: ignore[no-any-return]


def failure(port: int, **options: str) -> TargetError:
    target = open_grpc(port, **options)
    try:
        with pytest.raises(TargetError) as caught:
            target.send(EVENTS)
    finally:
        target.close()
    assert "\n" not in str(caught.value) and "otlp+grpc" in str(caught.value)
    return caught.value


def test_what_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Api-Key=s%20ecret")
    taken, metadata = [], []

    def call(request: bytes, context: Any) -> bytes:
        taken.append(request)
        metadata.append(dict(context.invocation_metadata()))
        said = ExportLogsServiceResponse()
        if len(taken) == 2:
            said.partial_success.rejected_log_records = 1
            said.partial_success.error_message = "too old"
        return said.SerializeToString()

    with grpc_server(call) as port:
        target = open_grpc(port)
        assert target.send(EVENTS) == Answer()
        assert target.send(EVENTS) == Answer(1, "too old")
        target.close()
        uncompressed = open_grpc(port, compression="none")
        uncompressed.send(EVENTS)
        uncompressed.close()
    assert [otlp.ids_of(request) for request in taken] == [[event.id for event in EVENTS]] * 3
    assert metadata[0]["api-key"] == "s ecret"
    assert metadata[0]["user-agent"].startswith("pythonaudit/")


UNAVAILABLE = ("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS")
MISCONFIGURED = ("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "NOT_FOUND")
REFUSED = (
    *("UNKNOWN", "INVALID_ARGUMENT", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "INTERNAL"),
)


def test_statuses() -> None:
    said: list[str] = []

    def call(request: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode[said[-1]], "because of\nthis")
        raise AssertionError

    with grpc_server(call) as port:
        for names, kind in ((UNAVAILABLE, Unavailable), (MISCONFIGURED, Misconfigured), (REFUSED, Refused)):
            for name in names:
                said.append(name)
                error = failure(port)
                assert type(error) is kind, name
                assert f"gRPC {name}: because of this" in str(error)
    assert {code.name for code in grpc.StatusCode} == {"OK", *said}


def test_when_to_come_again() -> None:
    def call(request: bytes, context: Any) -> bytes:
        info, detail = RetryInfo(), AnyMessage()
        info.retry_delay.FromMilliseconds(2500)
        detail.Pack(info)
        status = Status(code=8, message="too much", details=[detail])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")
        raise AssertionError

    with grpc_server(call) as port:
        error = failure(port)
    assert isinstance(error, Unavailable) and error.after == 2.5


@pytest.mark.parametrize("content", [b"\xff\xff", b"<html>", bytes(1 << 20)], ids=["bytes", "HTML", "endless"])
def test_garbage_is_no_answer(content: bytes) -> None:
    with grpc_server(lambda request, context: content) as port:
        assert type(failure(port)) is Unavailable


def test_what_is_no_grpc() -> None:
    def greeting(connection: socket.socket, server: OddServer) -> None:
        connection.sendall(b"220 mail.example ESMTP\r\n")
        connection.recv(65536)

    def silent(connection: socket.socket, server: OddServer) -> None:
        server.is_over.wait()

    for behaviour, options in (
        (greeting, {}),
        (silent, {"timeout": "0.3"}),
        (answer(http("200 OK")), {"timeout": "1"}),
    ):
        with serving(behaviour) as server:
            assert type(failure(server.port, **options)) is Unavailable


def test_another_service_is_not_this_one() -> None:
    with grpc_server(lambda request, context: b"", service="some.other.Service") as port:
        error = failure(port)
    assert type(error) is Misconfigured and "nothing takes logs there" in str(error)


def test_too_slow() -> None:
    def call(request: bytes, context: Any) -> bytes:
        until = time.monotonic() + 60
        while context.is_active() and time.monotonic() < until:
            time.sleep(0.01)  # between two looks
        return b""

    with grpc_server(call) as port:
        error = failure(port, timeout="0.3")
    assert type(error) is Unavailable and "DEADLINE_EXCEEDED" in str(error)


def test_a_server_that_comes_is_found_at_once() -> None:
    port = closed_port()
    target = open_grpc(port)
    for _ in range(3):
        with pytest.raises(Unavailable):
            target.send(EVENTS)
    with grpc_server(lambda request, context: b"", port=port):
        assert target.send(EVENTS) == Answer()
    with pytest.raises(Unavailable):
        target.send(EVENTS)
    with grpc_server(lambda request, context: b"", port=port):
        assert target.send(EVENTS) == Answer()
    target.close()


def test_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    cert, key = authority.issue("server")
    client, client_key = authority.issue("client")
    ca, ours = str(authority.ca), {"cert": str(client), "key": str(client_key)}
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), cert.read_bytes())], authority.ca.read_bytes(), require_client_auth=True
    )
    with grpc_server(lambda request, context: b"", credentials) as port:
        target = open_grpc(port, "otlp+grpcs", ca=ca, **ours)
        assert target.send(EVENTS) == Answer()
        target.close()
        error = failure(port, scheme="otlp+grpcs")
        assert type(error) is Misconfigured and "not to be trusted" in str(error)
        assert type(failure(port, scheme="otlp+grpcs", ca=ca)) is Unavailable  # gRPC's own servers do not say why
    context = authority.server_context(cert, key, asks_for_certificate=True)
    context.set_alpn_protocols(["h2"])
    with serving(answer(http("200 OK")), context) as server:  # others do
        error = failure(server.port, scheme="otlp+grpcs", ca=ca)
        assert type(error) is Misconfigured and "does not accept our certificate" in str(error)


QUIET = """
import sys
from pythonaudit.errors import TargetError
from pythonaudit.export.targets import open_target, parse_address
from tests.written import some_events
for to in sys.argv[1:]:
    try:
        open_target(parse_address(to)).send(some_events(1))
    except TargetError as error:
        print(type(error).__name__)
"""


def test_nothing_is_printed_but_by_us(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = authority.server_context(*authority.issue("server"))
    with serving(answer(http("200 OK")), context) as server:
        addresses = [f"otlp+grpcs://127.0.0.1:{server.port}", f"otlp+grpc://127.0.0.1:{closed_port()}"]
        command = [sys.executable, "-c", QUIET, *addresses]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert (done.stdout.split(), done.stderr) == (["Misconfigured", "Unavailable"], "")


def test_what_makes_no_sense(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no path"):
        open_target(parse_address("otlp+grpc://127.0.0.1/v1/logs"))
    with pytest.raises(UsageError, match="no host"):
        open_target(parse_address("otlp+grpc:"))
    with pytest.raises(Misconfigured, match="No such file"):
        open_grpc(1, "otlp+grpcs", ca=str(tmp_path / "none"))
