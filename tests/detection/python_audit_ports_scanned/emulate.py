"""Connections to many ports of this host, which nobody answers; and many to one."""

import contextlib
import socket


def _connect(port: int) -> None:
    with socket.socket() as connection, contextlib.suppress(OSError):
        connection.connect(("127.0.0.1", port))


def match() -> None:
    for port in range(1, 21):
        _connect(port)


def nomatch() -> None:
    for _ in range(20):
        _connect(1)
