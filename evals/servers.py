"""What answers in a sandbox: the other side of every emulation, on the loopback interface.

| address | port | answers |
| --- | --- | --- |
| SERVER, METADATA | 80, 443, 8000, 8080 | a file below the web root, or `{}`; to everything that is sent, 200 |
| SERVER | 4444, 9001, 3333 | the lines of the file `PORT.txt` of the web root, or `id` and `exit` |
| SERVER | 21 | enough of FTP to log in; then it says no |
| RESOLVER | 53, UDP | the address of SERVER, for every name |

The web root of METADATA is that of SERVER: what it serves is up to the emulation.
"""

from __future__ import annotations

import datetime
import ipaddress
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

#: 203.0.113.0/24 is for documentation: no host has such an address.
SERVER, RESOLVER = "203.0.113.10", "203.0.113.53"
METADATA = "169.254.169.254"
ADDRESSES = (SERVER, RESOLVER, METADATA)
WEB_PORTS = (80, 443, 8000, 8080)
SHELL_PORTS = (4444, 9001, 3333)
_READ_SECONDS = 20.0


class _Web(BaseHTTPRequestHandler):
    """Serves what is below `root`; takes whatever is sent."""

    root = Path()
    timeout = _READ_SECONDS

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = (self.root / urlsplit(self.path).path.lstrip("/")).resolve()
        is_there = path.is_relative_to(self.root) and path.is_file()
        body = path.read_bytes() if is_there else b"{}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_HEAD = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class _Shell(socketserver.StreamRequestHandler):
    """Sends commands, and reads what comes back until the other side is done."""

    root = Path()
    timeout = _READ_SECONDS

    def handle(self) -> None:
        port = self.request.getsockname()[1]
        lines = self.root / f"{port}.txt"
        self.wfile.write(lines.read_bytes() if lines.exists() else b"id\nexit\n")
        try:
            while self.rfile.read1(65536):
                pass
        except OSError:
            pass


class _Files(socketserver.StreamRequestHandler):
    """As much of FTP as a log-in takes."""

    timeout = _READ_SECONDS

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        answers = {b"USER": b"331 password\r\n", b"PASS": b"230 in\r\n", b"QUIT": b"221 bye\r\n"}
        while line := self.rfile.readline():
            self.wfile.write(answers.get(line[:4].upper(), b"550 no\r\n"))


class _Names(socketserver.DatagramRequestHandler):
    """Answers each question for an address with that of SERVER."""

    def handle(self) -> None:
        question = self.rfile.read()
        end = question.index(b"\0", 12) + 5
        is_address = question[end - 4 : end - 2] == b"\0\x01"
        head = question[:2] + b"\x81\x80" + struct.pack("!4H", 1, int(is_address), 0, 0) + question[12:end]
        answer = b"\xc0\x0c\0\x01\0\x01" + struct.pack("!IH", 1, 4) + socket.inet_aton(SERVER)
        self.wfile.write(head + answer if is_address else head)


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def running(root: Path) -> Iterator[Path]:
    """Has the servers answer; gives the certificate by which https is trusted."""
    root.mkdir(parents=True, exist_ok=True)
    web = type("Web", (_Web,), {"root": root.resolve()})
    shell = type("Shell", (_Shell,), {"root": root.resolve()})
    certificate = make_certificate(root.parent)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    started: list[socketserver.BaseServer] = []
    for address in (SERVER, METADATA):
        for port in WEB_PORTS:
            site = ThreadingHTTPServer((address, port), web)
            if port == 443:
                site.socket = context.wrap_socket(site.socket, server_side=True, do_handshake_on_connect=False)
            started.append(site)
    started += [_Listener((SERVER, port), shell) for port in SHELL_PORTS]
    started.append(_Listener((SERVER, 21), _Files))
    started.append(socketserver.ThreadingUDPServer((RESOLVER, 53), _Names))
    for server in started:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield certificate


def make_certificate(directory: Path) -> Path:
    """A key and a certificate for any name, good for this day."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    hosts = [line.split()[1] for line in Path("/etc/hosts").read_text().splitlines() if len(line.split()) > 1]
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ADDRESSES]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "sandbox.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return path
