"""The tree of frames (flame.py) of the selected events, from the views `events` and `stacks`.

DuckDB counts the events of each stack; only stacks that differ come here, and of their frames those of one batch
at a time. So memory goes with the number of different stacks, not with that of events.

Frames are told apart by file and function, not by line: the same function is one bar, whatever it was doing.
A stack has up to `PYTHONAUDIT_STACK` frames. What is no frame stands in brackets:

    [truncated]   outermost: there were more callers than were kept
    [no stack]    events that no Python code was running for, or that were recorded without a stack
    [unreadable]  events whose stack is damaged, or has gone while it was read
"""

from __future__ import annotations

import os.path
from array import array
from collections.abc import Iterator
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, NamedTuple

import pyarrow as pa

from pythonaudit.query.connection import Connection
from pythonaudit.query.flame import ROOT, Frame, Tree
from pythonaudit.query.results import Result

FUNCTION, PACKAGE, EVENT = BY = ("function", "package", "event")

NO_STACK = Frame("[no stack]", kind="note")
TRUNCATED = Frame("[truncated]", kind="note")
UNREADABLE = Frame("[unreadable]", kind="note")
STDLIB = Frame("[stdlib]", kind="library")

_COUNTS = """
SELECT batch, stack_id, {name} AS name, count(*) AS count,
    count(*) FILTER (list_contains(notes, 'stack-truncated')) AS truncated
FROM ({query}) GROUP BY ALL"""
# In the order in which they lie: those of a batch are together.
_STACKS = "SELECT batch, stack_id, parent_id, file, function, library, package FROM stacks"
_NONE = -1

Counts = dict[str | None, "array[int]"]


class _Row(NamedTuple):
    """A row of `_STACKS`, but for the batch."""

    stack: int
    parent: int | None
    file: str | None
    function: str | None
    library: bool | None
    package: str | None


def read_tree(connection: Connection, query: str, by: str) -> Tree:
    """The tree of the selected events.

    Args:
        connection: one of `query.connection.connect`.
        query: a SELECT of rows of the view `events`.
        by: one of `BY`. "package": frames of one package, one after the other, are one. "event": as "function",
            and the name of the event, or its template, is the innermost frame.

    Raises:
        UsageError: a condition of the query cannot be computed.
        PythonAuditError: it takes too much memory.
    """
    tree = Tree()
    counts = _count(connection, query, tree, by)
    _add_below(tree, NO_STACK, counts.pop(None, None))
    stacks = chain.from_iterable(map(_rows, Result(connection, _STACKS).batches()))
    for batch, rows in groupby(stacks, itemgetter(0)):
        if batch in counts:
            left = _Batch(tree, (_Row(*row[1:]) for row in rows), by).add(counts.pop(batch))
            _add_below(tree, UNREADABLE, left)
    for left in counts.values():
        _add_below(tree, UNREADABLE, left)
    return tree


def _count(connection: Connection, query: str, tree: Tree, by: str) -> Counts:
    """How many events each stack raised, by batch; None is for those without a stack.

    Four numbers at a time: the stack, the frame that is the event's name, events, how many of these are truncated.
    """
    counts: Counts = {}
    name = "coalesce(template, event)" if by == EVENT else "NULL::VARCHAR"
    for block in Result(connection, _COUNTS.format(name=name, query=query), "--where").batches():
        for batch, stack, text, count, truncated in _rows(block):
            event = _NONE if text is None else tree.number(Frame(text, kind="event"))
            counts.setdefault(batch if stack else None, array("q")).extend((stack or 0, event, count, truncated))
    return counts


def _rows(block: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in block.columns), strict=True)


def _quadruples(numbers: array[int]) -> Iterator[tuple[int, int, int, int]]:
    each = iter(numbers)
    return zip(each, each, each, each, strict=True)


def _add(tree: Tree, node: int, event: int, count: int) -> None:
    tree.add(node if event == _NONE else tree.child(node, event), count)


def _add_below(tree: Tree, frame: Frame, counts: array[int] | None) -> None:
    """Adds events whose stack is not there."""
    for _, event, count, _ in _quadruples(counts or array("q")):
        _add(tree, tree.node(ROOT, frame), event, count)


class _Batch:
    """The stacks of a batch, put into the tree when events ask for them."""

    def __init__(self, tree: Tree, rows: Iterator[_Row], by: str) -> None:
        self._tree = tree
        self._folds = by == PACKAGE
        self._rows = {row.stack: row for row in rows}
        self._nodes: dict[tuple[int, int], int] = {}  # by outermost node and stack

    def add(self, counts: array[int]) -> array[int]:
        """Adds events, four numbers at a time; returns those whose stack is not there."""
        tree, left = self._tree, array("q")
        for stack, event, count, truncated in _quadruples(counts):
            if stack not in self._rows:
                left.extend((stack, event, count, truncated))
                continue
            if count > truncated:
                _add(tree, self._find(ROOT, stack), event, count - truncated)
            if truncated:
                _add(tree, self._find(tree.node(ROOT, TRUNCATED), stack), event, truncated)
        return left

    def _find(self, outermost: int, stack: int) -> int:
        path: list[_Row] = []
        node, at = outermost, stack
        while at in self._rows:
            known = self._nodes.get((outermost, at))
            if known is not None:
                node = known
                break
            row = self._rows[at]
            path.append(row)
            at = row.parent if row.parent is not None and row.parent < at else 0  # never a circle
        for row in reversed(path):
            node = self._nodes[outermost, row.stack] = self._callee(node, row)
        return node

    def _callee(self, node: int, row: _Row) -> int:
        tree = self._tree
        number = tree.number(_package(row) if self._folds else _function(row))
        return node if self._folds and tree.frame[node] == number else tree.child(node, number)


def _function(row: _Row) -> Frame:
    return Frame(row.function or "?", row.file, "library" if row.library else "code")


def _package(row: _Row) -> Frame:
    """The distribution that the code is of; where none is known, the directory of its file."""
    if row.library:
        return STDLIB
    file = row.file or "?"
    return Frame(row.package or os.path.dirname(file) or file)
