"""A datagram socket is given an address that is kept for examples, which sends nothing; and before it a name."""

import contextlib
import socket


def _connect() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection, contextlib.suppress(OSError):
        connection.connect(("203.0.113.7", 4444))


def match() -> None:
    _connect()


def nomatch() -> None:
    with contextlib.suppress(socket.gaierror):
        socket.getaddrinfo("host.example.com", 4444, flags=socket.AI_NUMERICHOST)
    _connect()
