"""What several forms say of an event, drawn once: the typed columns of the archive, and what is known of a name.

>>> from pythonaudit.export.formats.seen import full_path, split_host
>>> full_path("data/../a", "/srv"), split_host("10.0.0.1"), split_host("example.org")
('/srv/a', ('10.0.0.1', None), (None, 'example.org'))
"""

from __future__ import annotations

import ipaddress
import os
import shlex
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pythonaudit.archive.typed import Typed, describe

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event
    from pythonaudit.journal.process import Process

MODULE = "pythonaudit"

_PROCESSES = 1024  # of which something is kept


def typed(event: Event) -> Typed:
    """Its path, address, command, …."""
    return describe(event.event, event.values, event.process.python_version)


def full_path(path: str, cwd: str | None) -> str:
    """A path as seen from a directory, without `.`, `..` and `//`; as it is where there is nothing to see it from."""
    if not path or "\0" in path or not (path.startswith("/") or cwd):
        return path
    return os.path.normpath(os.path.join(cwd or "", path))


def split_host(address: str | None) -> tuple[str | None, str | None]:
    """An address as IP address or as name of a host; neither is known of the path of a socket."""
    if not address or "/" in address or "\0" in address:
        return None, None
    try:
        return str(ipaddress.ip_address(address.partition("%")[0])), None
    except ValueError:
        return None, address


def split_url(url: str) -> dict[str, Any]:
    """Scheme, host, port, path and query of an address of the web, of those that it has."""
    try:
        parts = urlsplit(url)
        found = {
            "scheme": parts.scheme,
            "domain": parts.hostname,
            "port": parts.port,
            "path": parts.path,
            "query": parts.query,
        }
    except ValueError:  # as of http://[
        return {}
    return {name: value for name, value in found.items() if value}


@lru_cache(maxsize=_PROCESSES)
def command_line(process: Process) -> tuple[tuple[str, ...], str]:
    """The words of a process, the program and what followed; and the same as a shell would want them."""
    words = (*([process.exe] if process.exe else []), *process.argv)
    return words, shlex.join(words)


def filled(**values: Any) -> dict[str, Any]:
    """Those that say something."""
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}
