"""Names are said to the resolver as if they were addresses, which asks nobody."""

import contextlib
import socket


def _ask(name: str) -> None:
    """Says the name to the resolver as if it were an address, which asks nobody."""
    with contextlib.suppress(socket.gaierror):
        socket.getaddrinfo(name, None, flags=socket.AI_NUMERICHOST)


def match() -> None:
    _ask("expyuzz4wqqyqhjn.onion")
    _ask("pool.supportxmr.com")


def nomatch() -> None:
    _ask("onion.example.com")
    _ask("pool.ntp.org")
