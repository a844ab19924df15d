"""Stores that are not there, say no, say nonsense or say nothing: one line each, and the right kind of error."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from pythonaudit import cli
from pythonaudit.export.targets import Misconfigured, Unavailable
from tests.archives import move, write
from tests.buckets import READER, Cut, Store, free_ports, running_proxy, serving, target, variables

NO_XML = b"<html>It works!</html>"
SKEWED = (
    b"<?xml version='1.0'?><Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time "
    b"and the current time is too large.</Message></Error>"
)
BUSY = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("kept")
    write(directory, 1)
    move(directory)
    return directory


@pytest.fixture
def environment(
    object_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str, str], None]:
    """Sets variables to be those of the store, or others."""

    def choose(name: str, value: str) -> None:
        monkeypatch.setenv(name, value)

    for name, value in variables(object_store.endpoint).items():
        choose(name, value)
    choose("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return choose


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that has one answer for everybody."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as endpoint:
        yield endpoint


@contextmanager
def talking(say: bytes | None) -> Iterator[str]:
    """A server that speaks no HTTP; None: it says nothing at all."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        connections: list[socket.socket] = []

        def accept() -> None:
            while not over.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                connections.append(connection)
                if say is not None:
                    connection.recv(1 << 16)
                    connection.sendall(say)
                    connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            thread.join()
            for connection in connections:
                connection.close()


@pytest.mark.parametrize(
    ("name", "value", "address", "complaint"),
    [
        ("AWS_REGION", "us-east-1", "s3://nobody/fleet", "s3://nobody/fleet: NoSuchBucket: The specified bucket"),
        ("AWS_ACCESS_KEY_ID", "AKIANOBODY", "s3://audit/fleet", "InvalidAccessKeyId: The access key ID"),
        ("AWS_SECRET_ACCESS_KEY", "wrong", "s3://audit/fleet", "SignatureDoesNotMatch: The request signature"),
        ("AWS_ACCESS_KEY_ID", READER, "s3://audit/fleet", "AccessDenied: Access Denied"),
    ],
)
def test_who_may_not(
    environment: Callable[[str, str], None], kept: Path, name: str, value: str, address: str, complaint: str
) -> None:
    environment(name, value)
    with pytest.raises(Misconfigured) as raised:
        target(address, name="web-1").ship(kept)
    assert complaint in str(raised.value)
    assert raised.value.hint and "\n" not in f"{raised.value}{raised.value.hint}"


def test_it_shows_before_there_is_anything_to_send(
    environment: Callable[[str, str], None], tmp_path: Path
) -> None:
    with pytest.raises(Misconfigured, match="NoSuchBucket"):
        target("s3://nobody/fleet", name="web-1").ship(tmp_path)


def test_nobody_is_there(environment: Callable[[str, str], None], kept: Path) -> None:
    environment("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(Unavailable, match=r"^s3://audit/fleet: Could not connect"):
        target("s3://audit/fleet", name="web-1").ship(kept)


def test_it_goes_in_the_middle(object_store: Store, environment: Callable[[str, str], None], kept: Path) -> None:
    """Everything fails from a moment on, and works again later: the same target goes on."""
    address = object_store.new_prefix()
    with running_proxy(object_store.endpoint) as proxy:
        environment("AWS_ENDPOINT_URL", proxy.endpoint)
        shipping = target(address, name="web-1")

        def cut(number: int) -> None:
            if number > 3:
                raise Cut

        proxy.before = cut
        for _ in range(3):
            with pytest.raises(Unavailable):
                shipping.ship(kept)
        proxy.before = lambda number: None
        assert shipping.ship(kept).is_done
    assert len(object_store.keys(address)) == 5


@pytest.mark.parametrize(
    ("status", "body", "kind", "complaint"),
    [
        (200, NO_XML, Unavailable, "the answer is none of S3"),
        (200, b"", Unavailable, "the answer is none of S3"),
        (200, b"\x00\xff" * 99, Unavailable, "s3://audit/fleet: "),
        (500, NO_XML, Unavailable, "s3://audit/fleet: "),
        (503, BUSY, Unavailable, "SlowDown: Please reduce"),
        (403, SKEWED, Misconfigured, "RequestTimeTooSkewed: The difference"),
        (404, NO_XML, Misconfigured, "s3://audit/fleet: "),
    ],
)
def test_nonsense(
    environment: Callable[[str, str], None],
    kept: Path,
    status: int,
    body: bytes,
    kind: type[Exception],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with answering(status, body) as endpoint:
        environment("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(kind) as raised:
            target("s3://audit/fleet", name="web-1").ship(kept)
        assert complaint in str(raised.value)
        assert type(raised.value) is kind
        for words in (["log"], ["verify"]):
            assert cli.main(["--dir", "s3://audit/fleet", *words]) == 3
            said = capsys.readouterr()
            assert said.out == "" and said.err.count("\n") == 1 and complaint in said.err


def test_a_write_is_believed_only_if_it_is_confirmed(
    object_store: Store, environment: Callable[[str, str], None], kept: Path
) -> None:
    """Something between us and the store says yes to everything: what it takes would be lost."""
    with running_proxy(object_store.endpoint) as proxy, answering(200, b"") as yes:
        environment("AWS_ENDPOINT_URL", proxy.endpoint)
        there = proxy.upstream

        def divert(number: int) -> None:
            proxy.upstream = yes if proxy.requests[-1][0] == "PUT" else there

        proxy.before = divert
        with pytest.raises(Unavailable, match="the answer is none of S3"):
            target(object_store.new_prefix(), name="web-1").ship(kept)


def test_no_http(environment: Callable[[str, str], None], kept: Path) -> None:
    with talking(b"220 mail.example ESMTP\r\n") as endpoint:
        environment("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(Unavailable, match=r"^s3://audit/fleet: "):
            target("s3://audit/fleet", name="web-1").ship(kept)


def test_silence(environment: Callable[[str, str], None], kept: Path) -> None:
    with talking(None) as endpoint:
        shipping = target("s3://audit/fleet", name="web-1", endpoint=endpoint, timeout="0.2")
        begin = time.monotonic()
        with pytest.raises(Unavailable, match=r"^s3://audit/fleet: Read timeout"):
            shipping.ship(kept)
        assert time.monotonic() - begin < 30  # not the 60 seconds of the default


def test_a_call_has_its_time(object_store: Store, environment: Callable[[str, str], None], kept: Path) -> None:
    """What does not come in time is left for the next call, which goes on there."""
    address = object_store.new_prefix()
    shipping = target(address, name="web-1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pythonaudit.export.targets.s3._SECONDS", -1.0)  # each call is over before it begins
        assert not shipping.ship(kept).is_done
    assert object_store.keys(address) == {}
    assert shipping.ship(kept).is_done


@pytest.mark.parametrize("words", [["log"], ["stats", "--host", "web-*"], ["verify"]])
def test_an_empty_bucket(
    object_store: Store,
    environment: Callable[[str, str], None],
    words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    address = object_store.new_prefix()
    assert cli.main(["--dir", address, *words]) == 3
    assert f"nobody has sent anything to {address}" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["ingest", "agent", "status", "doctor", "bench"])
def test_what_works_with_a_directory_only(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--dir", "s3://audit/fleet", verb]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"pythonaudit: s3://audit/fleet: '{verb}' works with a directory of this host; name one"
    )


@pytest.mark.parametrize(
    "place",
    ["s3://", "s3:///x", "s3://a", "s3://au dit", "s3://audit/../x", "s3://audit/x?zone=1", "s3://audit/a//b"],
)
def test_addresses_that_are_none(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--dir", place, "log"]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and said.err.startswith("pythonaudit: s3://")
