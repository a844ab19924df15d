"""What views compute in Python, whole columns at a time: fields by name, and stacks as JSON.

Both are asked for only where a query uses them. Arguments are looked at once for each value that differs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import pyarrow as pa

from pythonaudit import catalog
from pythonaudit.journal import layout
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.fields import named_fields
from pythonaudit.journal.filters import compile_globs, find_paths
from pythonaudit.journal.process import parse_version
from pythonaudit.query.addresses import is_within
from pythonaudit.query.children import Child, find_child

_SEPARATORS = (",", ":")


def event_fields(event: pa.Array, args: pa.Array, python: pa.Array) -> pa.Array:
    """The arguments of events by name, as JSON objects; null where there are none.

    Args:
        event: names of events.
        args: their arguments, JSON arrays.
        python: versions of the interpreters.
    """
    keys = list(zip(_texts(event), _texts(args), _texts(python), strict=True))
    made = {key: _fields(*key) for key in set(keys)}
    return pa.array([made[key] for key in keys], pa.string())


def resolve_path(path: pa.Array, cwd: pa.Array) -> pa.Array:
    """Paths as seen from a directory, without `.`, `..` and `//`.

    Args:
        path: paths.
        cwd: the current directory of each.
    """
    keys = list(zip(_texts(path), _texts(cwd), strict=True))
    made: dict[tuple[str | None, str | None], str]
    made = {(name, place): os.path.normpath(os.path.join(place or "", name)) for name, place in set(keys) if name}
    return pa.array([made.get(key) for key in keys], pa.string())


def has_path(event: pa.Array, fields: pa.Array, cwd: pa.Array, globs: pa.Array) -> pa.Array:
    """Whether one of the paths of an event, as given or as seen from a directory, matches.

    Args:
        event: names of events.
        fields: their arguments by name, JSON objects.
        cwd: the current directory of each.
        globs: a JSON array of them.
    """
    keys = list(zip(*map(_texts, (event, fields, cwd, globs)), strict=True))
    made = {key: _has_path(*key) for key in set(keys)}
    return pa.array([made[key] for key in keys], pa.bool_())


def in_network(address: pa.Array, network: pa.Array) -> pa.Array:
    """Whether addresses are of networks, such as 10.0.0.0/8.

    Args:
        address: addresses, or names of hosts.
        network: of each.
    """
    keys = list(zip(_texts(address), _texts(network), strict=True))
    made = {key: is_within(key[0], key[1] or "") for key in set(keys)}
    return pa.array([made[key] for key in keys], pa.bool_())


def child_images(event: pa.Array, args: pa.Array) -> pa.Array:
    """The programs that events start, as lists; empty where none is started.

    Args:
        event: names of events.
        args: their arguments, JSON arrays.
    """
    return _children(event, args, 0)


def child_commands(event: pa.Array, args: pa.Array) -> pa.Array:
    """The command lines of these programs, as lists.

    Args:
        event: names of events.
        args: their arguments, JSON arrays.
    """
    return _children(event, args, 1)


class Frames(Protocol):
    """The stacks of a batch."""

    def json(self, stack: int) -> str | None:
        """A stack as a JSON array, innermost frame first; None if there is none."""


class NoFrames:
    """Of a batch that cannot be read."""

    def json(self, stack: int) -> str | None:
        """None."""
        return None


class SegmentFrames:
    """The stacks of a segment of the journal."""

    def __init__(self, decoder: SegmentDecoder) -> None:
        self._decoder = decoder
        self._count = len(decoder.segment.node_parent)

    def json(self, stack: int) -> str | None:
        """A stack as a JSON array."""
        return self._decoder.stacks.json(stack).decode() if 0 < stack < self._count else None


class TableFrames:
    """The stacks of a batch of the archive.

    Args:
        table: its rows of the table `stacks`, in the order of their ids.
    """

    def __init__(self, table: pa.Table) -> None:
        columns = ("parent", "file", "line", "function")
        self._parent, self._file, self._line, self._function = (table[name].to_pylist() for name in columns)
        self._made: dict[int, str] = {}

    def json(self, stack: int) -> str | None:
        """A stack as a JSON array."""
        frames: list[str] = []
        while stack and 0 < stack <= len(self._parent) and len(frames) < layout.STACK_MAX_NODES:
            frames.append(self._frame(stack))
            stack = self._parent[stack - 1] or 0
        return "[" + ",".join(frames) + "]" if frames else None

    def _frame(self, stack: int) -> str:
        found = self._made.get(stack)
        if found is None:
            at = stack - 1
            frame = {"file": self._file[at], "line": self._line[at], "function": self._function[at]}
            said = {name: value for name, value in frame.items() if value is not None}
            found = self._made[stack] = json.dumps(said, ensure_ascii=False, separators=_SEPARATORS)
        return found


NO_FRAMES = NoFrames()


def stack_frames(load: Callable[[str], Frames]) -> Callable[[pa.Array, pa.Array], pa.Array]:
    """What makes stacks as JSON arrays.

    Args:
        load: the stacks of a batch.
    """

    def find(batch: pa.Array, stack: pa.Array) -> pa.Array:
        keys = list(zip(_texts(batch), stack.to_pylist(), strict=True))
        made: dict[tuple[str | None, Any], str | None]
        made = {(name, number): load(name).json(number) for name, number in set(keys) if name and number}
        return pa.array([made.get(key) for key in keys], pa.string())

    return find


def _children(event: pa.Array, args: pa.Array, which: int) -> pa.Array:
    keys = list(zip(_texts(event), _texts(args), strict=True))
    made = {key: _child(*key)[which] for key in set(keys)}
    return pa.array([made[key] for key in keys], pa.list_(pa.string()))


@lru_cache(maxsize=10_000)
def _child(event: str | None, args: str | None) -> Child:
    # Several rules ask the same of an event.
    return find_child(event or "", json.loads(args or "[]"))


def _fields(event: str | None, args: str | None, python: str | None) -> str | None:
    if event is None or args is None or catalog.lookup(event) is None:
        return None
    values: list[Any] = json.loads(args)
    named = named_fields(catalog.argument_names(event, len(values), parse_version(python)), values)
    return json.dumps(named, ensure_ascii=False, separators=_SEPARATORS) if named else None


def _has_path(event: str | None, fields: str | None, cwd: str | None, globs: str | None) -> bool:
    pattern = compile_globs(json.loads(globs or "[]"))
    if event is None or fields is None or pattern is None:
        return False
    return any(map(pattern.match, find_paths(catalog.lookup(event), json.loads(fields), cwd)))


def _texts(column: pa.Array) -> list[str | None]:
    found: list[str | None] = column.to_pylist()
    return found
