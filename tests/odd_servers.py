"""Small servers on the loopback interface that behave as a test says: each connection is given to a function.

with serving(answer(b"HTTP/1.1 503 …")) as server:
    target = open_target(parse_address(f"otlp+http://127.0.0.1:{server.port}"))
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

#: Until then, what a test waits for has happened, or it fails (a test's machine may be very slow).
DEADLINE_SECONDS = 60.0

Behaviour = Callable[[socket.socket, "OddServer"], None]


def wait_until(condition: Callable[[], bool]) -> bool:
    """Whether it has come true, in time."""
    until = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.005)  # between two looks
    return condition()


class OddServer:
    """Listens, and does what it is told with each connection, each in a thread.

    Attributes:
        connections: how many there were.
        received: what the behaviours have kept, in order.
        is_over: it is to end.
    """

    def __init__(self, behaviour: Behaviour, context: ssl.SSLContext | None) -> None:
        self._behaviour, self._context = behaviour, context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.received: list[bytes] = []
        self.is_over = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                found, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(found,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, found: socket.socket) -> None:
        found.settimeout(DEADLINE_SECONDS)
        with suppress(OSError), found:
            if self._context is None:
                self._behaviour(found, self)
                return
            with self._context.wrap_socket(found, server_side=True) as secured:
                self._behaviour(secured, self)

    def stop(self) -> None:
        """Ends, with all connections."""
        self.is_over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(DEADLINE_SECONDS)


@contextmanager
def serving(behaviour: Behaviour, context: ssl.SSLContext | None = None) -> Iterator[OddServer]:
    """A server, for a while."""
    server = OddServer(behaviour, context)
    try:
        yield server
    finally:
        server.stop()


def read_request(connection: socket.socket) -> bytes | None:
    """The body of a request of HTTP; None: there is none any more."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = [line.lower().partition(b":") for line in head.split(b"\r\n")]
    length = sum(int(text) for name, _, text in lines if name == b"content-length")
    while len(body) < length:
        more = connection.recv(65536)
        if not more:
            return None
        body += more
    return body


def answer(*answers: bytes) -> Behaviour:
    """Answers requests of HTTP with these bytes, the last of them again and again, and keeps their bodies."""

    def behave(connection: socket.socket, server: OddServer) -> None:
        while (body := read_request(connection)) is not None:
            said = answers[min(len(server.received), len(answers) - 1)]
            server.received.append(body)
            connection.sendall(said)
            if b"onnection: close" in said or b"HTTP" not in said:
                return

    return behave


def http(status: str, body: bytes = b"", **headers: str) -> bytes:
    """An answer of HTTP."""
    named = {"Content-Length": str(len(body)), **{name.replace("_", "-"): text for name, text in headers.items()}}
    lines = "".join(f"{name}: {text}\r\n" for name, text in named.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port
