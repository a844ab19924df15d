"""A port of this host is bound, then a shell is started that ends at once; and both the other way round."""

import pty
import socket


def _bind() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))


def match() -> None:
    _bind()
    pty.spawn(["/bin/sh", "-c", "exit 0"])


def nomatch() -> None:
    pty.spawn(["/bin/sh", "-c", "exit 0"])
    _bind()
