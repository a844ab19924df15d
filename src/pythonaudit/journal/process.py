"""Who recorded: the attributes of a process, from the header and the META entries of a segment."""

from __future__ import annotations

import pwd
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from pythonaudit.journal import layout
from pythonaudit.journal.chunks import Header
from pythonaudit.journal.liveness import is_running

_NOBODY = bytes(16)


@dataclass(frozen=True, slots=True)
class Process:
    """One process (program image), as one of its segments describes it.

    Attributes:
        id: 128 random bits, 32 hexadecimal digits.
        parent: id of the process that forked it, or None.
        boot: of the kernel, 32 hexadecimal digits; empty: unknown.
        pid, ppid: in its own pid namespace.
        pid_start: clock ticks since boot. `pid_namespace`: an inode; 0: unknown.
        uid, user: owner of the journal, and its name on this host or None.
        way: how recording began: preload, site, fork, command or agent.
        canary: whether the hook is known to have been in.
        attributes: all that the process says of itself (docs/format/journal.md section 7).
    """

    id: str
    parent: str | None
    boot: str
    pid: int
    ppid: int
    pid_start: int
    pid_namespace: int
    uid: int
    user: str | None
    way: str
    canary: bool
    attributes: dict[str, Any] = field(hash=False)

    @property
    def run(self) -> str | None:
        """Label that `pythonaudit run` gave to the process tree."""
        return self._text("run")

    @property
    def python(self) -> str | None:
        """Version of the interpreter, such as `3.11.7`."""
        return self._text("python")

    @property
    def host(self) -> str | None:
        """Name of the host."""
        return self._text("host")

    @property
    def exe(self) -> str | None:
        """Path of the program."""
        return self._text("exe")

    @property
    def cwd(self) -> str | None:
        """Current directory when the segment was begun."""
        return self._text("cwd")

    @property
    def argv(self) -> list[str]:
        """The words of the command line after the program's own name; secrets are masked."""
        words = self.attributes.get("argv")
        return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []

    @property
    def python_version(self) -> tuple[int, int] | None:
        """Major and minor version of the interpreter."""
        return parse_version(self.python)

    @property
    def is_running(self) -> bool | None:
        """Whether it lives; None where that cannot be judged (another boot is dead, another pid
        namespace is unknown).
        """
        return is_running(self.boot, self.pid_namespace, self.pid, self.pid_start)

    def _text(self, name: str) -> str | None:
        value = self.attributes.get(name)
        return value if isinstance(value, str) else None


def build_process(header: Header, attributes: Iterable[bytes], uid: int) -> Process:
    """The process of a segment.

    Args:
        header: of the segment.
        attributes: JSON of its META entries, in order.
        uid: owner of the file; the header is not believed.
    """
    merged: dict[str, Any] = {}
    for text in attributes:
        merged |= parse_object(text)
    return Process(
        id=header.process.hex(),
        parent=header.parent.hex() if header.parent != _NOBODY else None,
        boot=header.boot.hex() if header.boot != _NOBODY else "",
        pid=header.pid,
        ppid=header.ppid,
        pid_start=header.pid_start,
        pid_namespace=header.pid_namespace,
        uid=uid,
        user=user_name(uid),
        way=layout.WAYS.get(header.way, "unknown"),
        canary=header.canary == layout.CANARY_SEEN,
        attributes=merged,
    )


def parse_object(text: bytes) -> dict[str, Any]:
    """A JSON object; empty if it is none."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def parse_version(python: str | None) -> tuple[int, int] | None:
    """Major and minor of a version such as `3.11.7`; None: it is unknown, or none."""
    parts = (python or "").split(".")
    if len(parts) < 2 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        return None
    return int(parts[0][:4]), int(parts[1][:4])


@lru_cache
def user_name(uid: int) -> str | None:
    """The name of a user on this host."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
