"""What an event acts on, under the names that OpenTelemetry gives to it (semantic conventions).

    socket.connect to 10.0.0.7, port 5432  ->  network.peer.address, network.peer.port

What has no name there is `pythonaudit.…`. Which argument is what, the catalog says (`archive.typed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pythonaudit import catalog
from pythonaudit.archive.typed import find_places, pick

PREFIX = "pythonaudit."

_LOCAL = ("network.local.address", "network.local.port")
_PEER = ("network.peer.address", "network.peer.port")
_SERVER = ("server.address", "server.port")
_QUESTION = ("dns.question.name", "server.port")


def describe(event: str, values: Sequence[Any], python: tuple[int, int] | None) -> list[tuple[str, str | int]]:
    """What an event acts on.

    Args:
        event: its name.
        values: its arguments, decoded.
        python: major and minor version of the interpreter; None: unknown.
    """
    places = find_places(event, len(values), python)
    if places is None:
        return []
    typed = pick(places, values)
    address, port = _address_names(event)
    found = {
        "file.path": typed.path,
        PREFIX + "target": typed.target,
        address: typed.address,
        port: typed.port,
        PREFIX + "command": typed.command,
        PREFIX + "module": typed.module,
        "url.full": typed.url,
    }
    return [(name, value) for name, value in found.items() if value is not None]


@lru_cache(maxsize=512)
def _address_names(event: str) -> tuple[str, str]:
    """Whose address it is: an interface's of this host, a socket's at the other end, a name to be looked up, or what
    a protocol's client was given.
    """
    info = catalog.lookup(event)
    if info is not None and info.category == "dns":
        return _QUESTION
    if event == "socket.bind":
        return _LOCAL
    return _PEER if event.startswith("socket.") else _SERVER
