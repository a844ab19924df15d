"""Names are said to the resolver as if they were addresses, which asks nobody."""

import contextlib
import socket


def _ask(name: str) -> None:
    """Says the name to the resolver as if it were an address, which asks nobody."""
    with contextlib.suppress(socket.gaierror):
        socket.getaddrinfo(name, None, flags=socket.AI_NUMERICHOST)


def match() -> None:
    _ask("webhook.site")
    _ask("a1b2c3.oast.fun")


def nomatch() -> None:
    _ask("hooks.example.com")
    _ask("notwebhook.site")
