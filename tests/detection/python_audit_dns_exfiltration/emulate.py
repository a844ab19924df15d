"""Names with data in them are said to the resolver as if they were addresses, which asks nobody."""

import contextlib
import hashlib
import socket


def _ask(name: str) -> None:
    """Says the name to the resolver as if it were an address, which asks nobody."""
    with contextlib.suppress(socket.gaierror):
        socket.getaddrinfo(name, None, flags=socket.AI_NUMERICHOST)


def match() -> None:
    for number in range(10):
        _ask(hashlib.sha256(b"%d" % number).hexdigest()[:48] + ".data.example.net")


def nomatch() -> None:
    for _ in range(10):
        _ask(hashlib.sha256(b"0").hexdigest()[:48] + ".data.example.net")
    for number in range(10):
        _ask(f"host-{number}.example.net")
