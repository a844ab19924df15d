"""`webhook+https:`: what is posted verifies, and what is answered is understood."""

from __future__ import annotations

import base64
import hmac
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pythonaudit.errors import UsageError
from pythonaudit.export.targets import Misconfigured, Refused, Target, Unavailable, open_target, parse_address
from pythonaudit.export.targets.webhook import VARIABLE, sign
from tests.exported import recorded

EVENTS = recorded()
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@dataclass
class Receiver:
    """A server that answers what it is told to, and keeps what it gets."""

    port: int = 0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""
    got: list[tuple[http.client.HTTPMessage, str, bytes]] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    closing: bool = False


@contextmanager
def receiving(certificate: Path | None = None) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.connections.add(self.client_address)
            receiver.got.append((self.headers, self.path, body))
            self.send_response(receiver.status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(receiver.answer)))
            self.end_headers()
            self.wfile.write(receiver.answer)
            self.close_connection = receiver.closing  # without a word, as servers close what is idle

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def opened(port: int, scheme: str = "webhook+http", path: str = "/hook", **options: str) -> Target:
    given = {"secret": SECRET, "timeout": "5"} | options
    return open_target(parse_address(f"{scheme}://127.0.0.1:{port}{path}", given))  # type: ignore[return-value]


def verify(key: bytes, headers: http.client.HTTPMessage, body: bytes) -> None:
    """As the specification has it."""
    stamp = headers["webhook-timestamp"]
    assert abs(int(stamp) - time.time()) < 300
    signed = b".".join((headers["webhook-id"].encode(), stamp.encode(), body))
    expected = base64.b64encode(hmac.new(key, signed, "sha256").digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_the_signature_is_that_of_the_specification() -> None:
    """The vector of the reference implementations (standard-webhooks/standard-webhooks)."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_is_posted_is_what_was_recorded_and_verifies(receiver: Receiver) -> None:
    target = opened(receiver.port)
    assert target.send(EVENTS[:50]) == (0, "")
    target.send(EVENTS[50:60])
    target.send(EVENTS[50:60])  # as after an answer that got lost
    target.close()
    (first, path, body), *others = receiver.got
    assert path == "/hook"
    assert first["Content-Type"] == "application/json"
    assert json.loads(body) == {"events": [json.loads(event.to_json()) for event in EVENTS[:50]]}
    for headers, _, sent in receiver.got:
        verify(KEY, headers, sent)
    ids = [headers["webhook-id"] for headers, _, _ in (receiver.got[0], *others)]
    assert ids[0] != ids[1] == ids[2] and all(one.startswith("msg_") and "." not in one for one in ids)
    assert len(receiver.connections) == 1


def test_a_connection_that_was_closed_meanwhile_is_opened_again(receiver: Receiver) -> None:
    receiver.closing = True
    target = opened(receiver.port)
    for begin in range(0, 30, 10):
        target.send(EVENTS[begin : begin + 10])
    target.close()
    assert len(receiver.connections) == 3
    sent = [event["id"] for _, _, body in receiver.got for event in json.loads(body)["events"]]
    assert sent == [event.id for event in EVENTS[:30]]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, None), (201, None), (202, None), (204, None), (299, None),
        (301, Misconfigured), (302, Misconfigured), (307, Misconfigured), (308, Misconfigured),
        (400, Refused), (413, Refused), (422, Refused),
        (401, Misconfigured), (403, Misconfigured), (404, Misconfigured), (405, Misconfigured), (410, Misconfigured),
        (408, Unavailable), (425, Unavailable), (429, Unavailable),
        (500, Unavailable), (502, Unavailable), (503, Unavailable), (504, Unavailable), (799, Unavailable),
    ],
)  # fmt: skip
def test_what_an_answer_means(status: int, error: type[Exception] | None, receiver: Receiver) -> None:
    receiver.status = status
    receiver.headers = {"Location": f"http://127.0.0.1:{receiver.port}/elsewhere"} if status < 400 else {}
    receiver.answer = b"" if status == 204 else b"no \x1b[31m room\r\nforged: line \xff" + b"x" * 9999
    target = opened(receiver.port)
    if error is None:
        target.send(EVENTS[:1])
    else:
        with pytest.raises(error, match=f"answers {status}") as raised:
            target.send(EVENTS[:1])
        assert type(raised.value) is error
        text = str(raised.value)
        assert text.isprintable() and len(text) < 400
        assert "room forged: line" in text and SECRET not in text
    target.close()
    assert [path for _, path, _ in receiver.got] == ["/hook"]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("17", 17.0), ("0", 0.0), ("99999999", 86400.0), ("soon", None), ("-5", None), (None, None),
     (format_datetime(datetime.now(timezone.utc) - timedelta(hours=1), usegmt=True), 0.0)],
    ids=["seconds", "none", "too many", "words", "negative", "nothing", "an hour ago"],
)  # fmt: skip
def test_when_to_try_again(said: str | None, seconds: float | None, receiver: Receiver) -> None:
    receiver.status, receiver.headers = 429, {"Retry-After": said} if said else {}
    target = opened(receiver.port)
    with pytest.raises(Unavailable) as raised:
        target.send(EVENTS[:1])
    assert raised.value.after == seconds
    target.close()


def test_a_date_after_which_to_try_again(receiver: Receiver) -> None:
    receiver.status = 503
    receiver.headers = {
        "Retry-After": format_datetime(datetime.now(timezone.utc) + timedelta(hours=1), usegmt=True)
    }
    target = opened(receiver.port)
    with pytest.raises(Unavailable) as raised:
        target.send(EVENTS[:1])
    assert raised.value.after is not None and 3000 < raised.value.after <= 3600
    target.close()


@contextmanager
def rude(answer: bytes, drops: bytes = b"") -> Iterator[int]:
    """A server that answers these bytes whatever it is asked, then drops one after the other; its port."""
    over = threading.Event()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(1 << 20)
                    connection.sendall(answer)
                    for byte in drops:
                        connection.sendall(bytes([byte]))
                        if over.wait(0.2):
                            return
                except OSError:
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0\xff\xfe", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 two OK\r\n\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 20",
     b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
     b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 999 + b"\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"a" * 99999],
)  # fmt: skip
def test_an_answer_that_is_none(answer: bytes) -> None:
    with rude(answer) as port:
        target = opened(port)
        with pytest.raises(Unavailable, match=rf"^webhook\+http://127.0.0.1:{port}/hook: .+"):
            target.send(EVENTS[:1])
        target.close()


@pytest.mark.parametrize(
    "answer", [b"HTT", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"]
)
def test_a_receiver_that_never_ends_is_too_slow(answer: bytes) -> None:
    with rude(answer, b"x: y\r\n" * 99) as port:
        target = opened(port, timeout="1")
        with pytest.raises(Unavailable, match="no answer within 1 seconds"):
            target.send(EVENTS[:1])
        target.close()


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable, match="Connection refused"):
        opened(port).send(EVENTS[:1])
    target = open_target(parse_address("webhook+https://nowhere.invalid/x", {"secret": SECRET}))
    with pytest.raises(Unavailable, match=r"nowhere\.invalid"):
        target.send(EVENTS[:1])  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key, and a certificate for 127.0.0.1 signed with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


def test_tls_with_a_certificate_that_is_trusted(certificate: Path) -> None:
    with receiving(certificate) as receiver:
        target = opened(receiver.port, "webhook+https", ca=str(certificate))
        target.send(EVENTS[:5])
        target.close()
    ((headers, _, body),) = receiver.got
    verify(KEY, headers, body)


def test_a_certificate_that_does_not_hold(certificate: Path) -> None:
    with receiving(certificate) as receiver:
        target = opened(receiver.port, "webhook+https")
        with pytest.raises(Misconfigured, match=r"certificate: self.signed certificate"):
            target.send(EVENTS[:1])
        target.close()
        address = parse_address(
            f"webhook+https://localhost:{receiver.port}/", {"secret": SECRET, "ca": str(certificate)}
        )
        target = open_target(address)  # type: ignore[assignment]
        with pytest.raises(Misconfigured, match="certificate: Hostname mismatch"):
            target.send(EVENTS[:1])
        target.close()
    assert receiver.got == []


def test_a_server_without_tls(receiver: Receiver) -> None:
    target = opened(receiver.port, "webhook+https")
    with pytest.raises(Unavailable):
        target.send(EVENTS[:1])
    target.close()


def test_the_secret_comes_from_a_file_or_the_environment(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"webhook+http://127.0.0.1:{receiver.port}/"
    (tmp_path / "secret").write_text(SECRET + "\n")
    monkeypatch.setenv(VARIABLE, "whsec_" + base64.b64encode(b"x" * 24).decode())
    for address, key in ((f"{text}?secret-file={tmp_path}/secret", KEY), (text, b"x" * 24)):
        target = open_target(parse_address(address))
        target.send(EVENTS[:1])  # type: ignore[union-attr]
        target.close()
        headers, path, body = receiver.got[-1]
        verify(key, headers, body)
        assert path == "/"


@pytest.mark.parametrize(
    ("text", "options", "error", "words"),
    [
        ("webhook+https://h.example/x", {}, Misconfigured, "no secret to sign with"),
        ("webhook+https://h.example/x", {"secret": "whsec_c2hvcnQ="}, Misconfigured, "the secret is none"),
        ("webhook+https://h.example/x", {"secret": "hunter2"}, Misconfigured, "the secret is none"),
        ("webhook+https://h.example/x", {"secret": "whsec_ä"}, Misconfigured, "the secret is none"),
        ("webhook+https://h.example/x?secret=whsec_x", {}, UsageError, "is a secret, and an address shows it"),
        ("webhook+https://h.example/x", {"secret": SECRET, "ca": "/nowhere.pem"}, Misconfigured, "No such file"),
        ("webhook+https://h.example/x", {"secret": SECRET, "ca": __file__}, Misconfigured, "no certificates"),
        ("webhook+https://h.example/x?timeout=0", {"secret": SECRET}, UsageError, "seconds, 1 to 600"),
        ("webhook+https://h.example/a b", {"secret": SECRET}, UsageError, "blanks"),
        ("webhook+https:///x", {"secret": SECRET}, UsageError, "no host"),
        ("webhook+http://h.example/x", {"secret": SECRET}, UsageError, "http shows everything"),
        ("webhook+http://10.0.0.1/x", {"secret": SECRET}, UsageError, "http shows everything"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_told(
    text: str, options: dict[str, str], error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(error, match=words) as raised:
        open_target(parse_address(text, options))
    assert "hunter2" not in str(raised.value) and SECRET not in str(raised.value)
