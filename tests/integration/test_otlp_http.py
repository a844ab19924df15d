"""OTLP by HTTP to servers that misbehave: each ends in one of the three errors, with one line that says what is wrong."""

from __future__ import annotations

import email.utils
import socket
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
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
from tests.odd_servers import Behaviour, OddServer, answer, closed_port, http, read_request, serving
from tests.written import some_events

EVENTS = some_events(3)
OK = http("200 OK")
PROTOBUF = {"Content_Type": "application/x-protobuf"}


def open_http(port: int, scheme: str = "otlp+http", path: str = "", **options: str) -> Target:
    found: Any = open_target(parse_address(f"{scheme}://127.0.0.1:{port}{path}", {"timeout": "10", **options}))
    return found  # type: ignore[no-any-return]


def sent(behaviour: Behaviour, **options: str) -> Answer:
    with serving(behaviour) as server:
        target = open_http(server.port, **options)
        try:
            return target.send(EVENTS)
        finally:
            target.close()


def failure(behaviour: Behaviour, **options: str) -> TargetError:
    with pytest.raises(TargetError) as caught:
        sent(behaviour, **options)
    assert "\n" not in str(caught.value) and "otlp+http://127.0.0.1:" in str(caught.value)
    return caught.value


def test_what_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s%20ecret, x-tenant=7")
    heads = []

    def behave(connection: socket.socket, server: OddServer) -> None:
        heads.append(connection.recv(65536, socket.MSG_PEEK))
        answer(OK)(connection, server)

    with serving(behave) as server:
        target = open_http(server.port)
        assert target.send(EVENTS) == target.send(EVENTS) == Answer()
        target.close()
    assert server.connections == 1
    for body in server.received:
        assert otlp.ids_of(zlib.decompress(body, 31)) == [event.id for event in EVENTS]
    head = heads[0].partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    assert head[0] == b"post /v1/logs http/1.1"
    assert {b"api-key: s ecret", b"x-tenant: 7", b"content-encoding: gzip"} < set(head)
    assert b"content-type: application/x-protobuf" in head


def test_a_path_and_no_compression_are_kept_to() -> None:
    with serving(answer(OK)) as server:
        target = open_http(server.port, path="/here/logs", compression="none")
        target.send(EVENTS)
        target.close()
    assert otlp.ids_of(server.received[0]) == [event.id for event in EVENTS]


def test_a_partial_success_is_what_the_other_side_has_thrown_away() -> None:
    said = ExportLogsServiceResponse()
    said.partial_success.rejected_log_records = 2
    said.partial_success.error_message = "too\nold"
    assert sent(answer(http("200 OK", said.SerializeToString()))) == Answer(2, "too old")
    said.partial_success.rejected_log_records = 1 << 40  # more than there were
    assert sent(answer(http("200 OK", said.SerializeToString()))).refused == len(EVENTS)


BUSY = ("408 Request Timeout", "429 Too Many Requests", "502 Bad Gateway", "503 Unavailable", "504 Timeout")
ABOUT_US = (
    "401 Unauthorized",
    "403 Forbidden",
    "404 Not Found",
    "405 Not Allowed",
    "415 No",
    "301 Moved",
    "308 Moved",
)
NOT_THESE = ("400 Bad Request", "413 Too Large", "422 No", "500 Internal Server Error", "501 Not Implemented")


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [(BUSY, Unavailable), (ABOUT_US, Misconfigured), (NOT_THESE, Refused)],
    ids=["busy", "us", "no"],
)
def test_statuses(statuses: tuple[str, ...], kind: type[TargetError]) -> None:
    reason = Status(message="because of\nthis").SerializeToString()
    for status in statuses:
        error = failure(answer(http(status, reason, **PROTOBUF)))
        assert type(error) is kind, status
        assert f"HTTP {status[:3]}: because of this" in str(error)
    assert "because of this" in str(
        failure(answer(http(statuses[0], b"because of this", Content_Type="text/plain")))
    )
    assert "<html>" not in str(failure(answer(http(statuses[0], b"<html>", Content_Type="text/html"))))


def test_when_to_come_again() -> None:
    def after(text: str) -> float | None:
        error = failure(answer(http("503 Unavailable", Retry_After=text)))
        assert isinstance(error, Unavailable)
        return error.after

    assert after("7") == 7
    assert after("999999999") == 3600
    assert after("soon") is None
    then = after(email.utils.formatdate(time.time() + 100, usegmt=True))
    assert then is not None and 30 < then <= 100
    assert after("Thu, 01 Jan 1970 00:00:00 GMT") == 0


def cut(connection: socket.socket, server: OddServer) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123")


def endless(connection: socket.socket, server: OddServer) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(bytes(65536))


def dripping(connection: socket.socket, server: OddServer) -> None:
    read_request(connection)
    while not server.is_over.wait(0.05):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-A: b\r\n"[:1])


def silent(connection: socket.socket, server: OddServer) -> None:
    server.is_over.wait()


def deaf(connection: socket.socket, server: OddServer) -> None:
    connection.recv(100)


def greeting(connection: socket.socket, server: OddServer) -> None:
    connection.sendall(b"220 mail.example ESMTP\r\n")
    server.is_over.wait()


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (answer(http("200 OK", b"<html>Welcome</html>")), "no OTLP"),
        (answer(b"220 mail.example ESMTP\r\n"), "no HTTP"),
        (answer(b"\x15\x03\x01\x00\x02\x02\x50"), "no HTTP"),
        (cut, "cut off"),
        (endless, "no end"),
        (deaf, "reset|closed connection"),
    ],
    ids=["HTML", "SMTP", "an alert of TLS", "cut off", "endless", "closes while we send"],
)
def test_garbage_is_no_answer(behaviour: Behaviour, words: str) -> None:
    error = failure(behaviour)
    assert type(error) is Unavailable
    assert any(word in str(error) for word in words.split("|")), error


@pytest.mark.parametrize("behaviour", [dripping, silent], ids=["dripping", "silent"])
def test_no_answer_in_time(behaviour: Behaviour) -> None:
    begin = time.monotonic()
    error = failure(behaviour, timeout="0.3")
    assert type(error) is Unavailable and "in time" in str(error)
    assert time.monotonic() - begin < 60  # the dripping one would go on for ever


def test_nobody_there() -> None:
    target = open_http(closed_port())
    with pytest.raises(Unavailable, match="refused"):
        target.send(EVENTS)
    elsewhere: Any = open_target(parse_address("otlp+http://no-such-host.invalid"))
    with pytest.raises(Unavailable, match="no-such-host"):
        elsewhere.send(EVENTS)


def test_a_kept_connection_that_was_closed_meanwhile_is_made_anew(authority: Authority) -> None:
    with serving(answer(http("200 OK", Connection="close"))) as server:
        target = open_http(server.port)
        assert target.send(EVENTS) == target.send(EVENTS) == Answer()
        assert server.connections == 2

    def once(connection: socket.socket, server: OddServer) -> None:  # and does not say that it will close
        server.received.append(read_request(connection) or b"")
        connection.sendall(OK)

    context = authority.server_context(*authority.issue("closes"))
    for scheme, secured, options in (("otlp+http", None, {}), ("otlp+https", context, {"ca": str(authority.ca)})):
        with serving(once, secured) as server:
            target = open_http(server.port, scheme, **options)
            assert [target.send(EVENTS) for _ in range(3)] == [Answer()] * 3
            assert server.connections == 3
            target.close()


def test_what_it_says_before_it_has_read_everything() -> None:
    def behave(connection: socket.socket, server: OddServer) -> None:
        connection.recv(1000)
        connection.sendall(http("413 Too Large", b"less", Content_Type="text/plain", Connection="close"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    with serving(behave) as server:
        target = open_http(server.port, compression="none")
        with pytest.raises(Refused, match="less"):
            target.send(some_events(4000))
        target.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secured(authority: Authority) -> Iterator[OddServer]:
    """A server that asks for a certificate of its own authority."""
    context = authority.server_context(*authority.issue("server"), asks_for_certificate=True)
    with serving(answer(OK), context) as server:
        yield server


def test_certificates(authority: Authority, secured: OddServer, tmp_path: Path) -> None:
    ca = str(authority.ca)
    cert, key = (str(path) for path in authority.issue("client"))
    target = open_http(secured.port, "otlp+https", ca=ca, cert=cert, key=key)
    assert target.send(EVENTS) == Answer()
    target.close()
    with pytest.raises(Misconfigured, match="not to be trusted"):
        open_http(secured.port, "otlp+https").send(EVENTS)
    with pytest.raises(Misconfigured, match="does not accept our certificate"):
        open_http(secured.port, "otlp+https", ca=ca).send(EVENTS)
    with pytest.raises(Misconfigured, match="not to be trusted"):
        strangers = Authority(tmp_path, "stranger")
        open_http(secured.port, "otlp+https", ca=str(strangers.ca), cert=cert, key=key).send(EVENTS)
    with serving(greeting) as plain, pytest.raises(Misconfigured, match="no TLS"):
        open_http(plain.port, "otlp+https").send(EVENTS)
    context = authority.server_context(*authority.issue("elsewhere", "127.0.0.2"))
    with serving(answer(OK), context) as other, pytest.raises(Misconfigured, match="not to be trusted"):
        open_http(other.port, "otlp+https", ca=ca).send(EVENTS)


def test_what_makes_no_sense(authority: Authority, tmp_path: Path) -> None:
    _, key = authority.issue("other")
    for options, kind, words in (
        ({"timeout": "0"}, UsageError, "timeout"),
        ({"compression": "zip"}, UsageError, "gzip or none"),
        ({"timout": "1"}, UsageError, "no option timout"),
        ({"key": str(key)}, UsageError, "of no certificate"),
        ({"ca": str(tmp_path / "none")}, Misconfigured, "No such file"),
        ({"ca": str(key)}, Misconfigured, "ca="),
        ({"cert": str(key)}, Misconfigured, "cert="),
        ({"headers": "a=\x07s3cret"}, Misconfigured, "header 1"),
        ({"headers": "host=s3cret"}, Misconfigured, "header 1"),
        ({"headers": "s3cret"}, Misconfigured, "header 1"),
    ):
        with pytest.raises(kind, match=words) as caught:
            open_http(1, "otlp+https", **options)
        assert "s3cret" not in str(caught.value)
    with pytest.raises(UsageError, match="a secret"):
        open_http(1, path="/v1/logs?headers=a=b")
