"""Arguments to typed columns: what people filter by, whatever the event calls it.

    >>> describe("open", ["/etc/passwd", "r", 524288], None)
    Typed(path='/etc/passwd', target=None, address=None, port=None, command=None, module=None, url=None)

Which argument is what comes from the catalog (`path_args`, `address_args`, `command_args`). An application's
events have no such columns: their meaning is in their fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from pythonaudit import catalog
from pythonaudit.journal.fields import text_of

_URL_EVENTS = {"urllib.Request": 0, "webbrowser.open": 0}
_MODULE_EVENTS = {"import": 0, "cpython.run_module": 0, "pickle.find_class": 0}
_PORT_MAX = 65535
_PORT_DIGITS = 5


class Typed(NamedTuple):
    """The typed columns of an event.

    Attributes:
        path: the first of its paths. `target`: the second, such as the new name of a file.
        address: a host, an address, or the path of a socket. `port`: of it.
        command: words of a command line, joined by spaces where they came as a list.
        module: a module of Python.
        url: an address of the web.
    """

    path: str | None = None
    target: str | None = None
    address: str | None = None
    port: int | None = None
    command: str | None = None
    module: str | None = None
    url: str | None = None


class Places(NamedTuple):
    """Which argument is what, by position; -1: none.

    Attributes:
        only_path: there is a path and nothing else.
    """

    path: int = -1
    target: int = -1
    address: int = -1
    port: int = -1
    command: int = -1
    module: int = -1
    url: int = -1
    only_path: bool = False


def describe(event: str, values: Sequence[Any], python: tuple[int, int] | None) -> Typed:
    """The typed columns of an event.

    Args:
        event: its name.
        values: its arguments, decoded.
        python: major and minor version of the interpreter; None: unknown.
    """
    places = find_places(event, len(values), python)
    return Typed() if places is None else pick(places, values)


@lru_cache(maxsize=4096)
def find_places(event: str, count: int, python: tuple[int, int] | None) -> Places | None:
    """Which arguments of an event with so many of them are what; None: none is anything."""
    info = catalog.lookup(event)
    if info is None:
        return None
    names = catalog.argument_names(event, count, python)

    def place(wanted: Sequence[str], which: int = 0) -> int:
        known = [names.index(name) for name in wanted if name in names]
        return known[which] if which < len(known) else -1

    url = _place_of(_URL_EVENTS, event, count)
    module = _place_of(_MODULE_EVENTS, event, count)
    address = -1 if url >= 0 else place(info.address_args)
    found = Places(
        path=place(info.path_args),
        target=-1 if "cwd" in info.path_args else place(info.path_args, 1),
        address=address,
        port=names.index("port") if address >= 0 and "port" in names else -1,
        command=-1 if module >= 0 or info.category == "environment" else place(info.command_args),
        module=module,
        url=url,
    )
    if found == Places():
        return None
    return found._replace(only_path=found == Places(path=found.path))


@cache
def find_longer() -> tuple[str, ...]:
    """The events that can have more paths than `path` and `target` say: a list of them, a third, a directory."""
    return tuple(
        name
        for name, info in catalog.events().items()
        if len(info.path_args) > 2
        or "cwd" in info.path_args
        or any(arg.endswith("_list") for arg in info.path_args)
    )


def pick(places: Places, values: Sequence[Any]) -> Typed:
    """The typed columns of arguments."""

    def text(at: int) -> str | None:
        return _text(values[at]) if at >= 0 else None

    address, port = None, None
    if places.address >= 0:
        given = values[places.address]
        # A socket's address is (host, port, …), or one text. Other families have numbers for both.
        first, *rest = given if isinstance(given, list) and given else [given]
        address = None if isinstance(first, list) else text_of(first)
        if rest and address is not None:
            port = rest[0]
        elif places.port >= 0:
            port = values[places.port]
    return Typed(
        path=pick_path(values[places.path]) if places.path >= 0 else None,
        target=text_of(values[places.target]) if places.target >= 0 else None,
        address=address,
        port=_port(port),
        command=text(places.command),
        module=text(places.module),
        url=text(places.url),
    )


def pick_path(value: Any) -> str | None:
    """A path, or the first of a list of them; None: a descriptor, or nothing."""
    if isinstance(value, list):
        value = value[0] if value else None
    return None if isinstance(value, list) else text_of(value)


def _port(value: Any) -> int | None:
    if type(value) is str and value.isascii() and value.isdecimal() and len(value) <= _PORT_DIGITS:
        value = int(value)
    return value if type(value) is int and 0 <= value <= _PORT_MAX else None


def _place_of(events: Mapping[str, int], event: str, count: int) -> int:
    at = events.get(event, -1)
    return at if at < count else -1


def _text(value: Any) -> str | None:
    """A value as the text of a column: words as they are, those of a list with spaces between; None: it has none."""
    if isinstance(value, list):
        words = [_text(item) for item in value]
        return " ".join(word for word in words if word is not None) or None
    if type(value) in (int, float):
        return str(value)
    return text_of(value)
