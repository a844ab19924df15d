"""Events and segments to the hashes by which they are sealed (docs/format/checkpoint.md, sections 3 and 4).

The same hashes come from a segment of the journal (`of_segment`) and from the archive (`of_table`), today or in
ten years: what is hashed is what was recorded, not what is made of it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pythonaudit.archive.described import without_text
from pythonaudit.integrity.state import Run, Span
from pythonaudit.journal import arrow, texts
from pythonaudit.journal.arguments import Written, load_all
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.segment import Column, Events

VERSION = 1
_NULL = 0xFFFFFFFF
_NO_STACK = bytes(32)
_TEXTS = ("event", "source", "args", "thread", "context", "notes")
_FIXED = np.dtype(
    [
        ("leaf", "u1"),
        ("time", "<i8"),
        ("number", "<u8"),
        ("slot", "<u4"),
        ("tid", "<u4"),
        ("interpreter", "<u4"),
        ("version", "<u4"),
        ("lengths", "<u4", (len(_TEXTS),)),
        ("stack", "V32"),
    ]
)
_ROWS = 1 << 16  # hashed at a time
_TEXT_MARK = b'"$text":'
_SHARED = pa.schema([arrow.SCHEMA.field(name) for name in ("event", "source", "thread", "context", "notes")])
#: Columns of the archive from which the hashes come.
COLUMNS = (
    "time",
    "nanosecond",
    "number",
    "slot",
    "tid",
    "interpreter",
    *_TEXTS,
    "stack",
    "process",
    "sequence",
    "uid",
)
_LENGTH = struct.Struct("<I")
_IDENTITY = (
    *("process", "sequence", "uid", "parent", "host", "boot", "pid", "ppid", "pid_start", "pid_namespace", "way"),
    *("run", "python", "exe", "argv", "cwd", "begin_ns"),
)
_NOT_IN_ROW = frozenset({"batch", "user", "begin", "end"})


@dataclass(frozen=True, slots=True)
class Leaves:
    """Hashes of events.

    Attributes:
        slot, number: of each.
        hashes: 32 bytes each.
    """

    slot: Column
    number: Column
    hashes: list[bytes]

    def __getitem__(self, part: slice) -> Leaves:
        """Some of them."""
        return Leaves(self.slot[part], self.number[part], self.hashes[part])

    def sorted(self) -> Leaves:
        """The same in order of slot and number."""
        order = np.lexsort((self.number, self.slot))
        if (order[1:] > order[:-1]).all():
            return self
        return Leaves(self.slot[order], self.number[order], [self.hashes[at] for at in order.tolist()])

    def runs(self) -> list[Run]:
        """Which events they are, in as few runs as can be; they must be in order."""
        if not len(self.slot):
            return []
        breaks = (self.slot[1:] != self.slot[:-1]) | (self.number[1:] != self.number[:-1] + np.uint64(1))
        first = np.concatenate([[0], np.flatnonzero(breaks) + 1])
        counts = np.diff(np.append(first, len(self.slot)))
        return list(zip(self.slot[first].tolist(), self.number[first].tolist(), counts.tolist(), strict=True))


class StackHashes:
    """The hashes of stacks, each made when it is asked for first.

    Args:
        parents, frames: of each stack by its id; 0 is none. A frame is line, file and function.
    """

    def __init__(self, parents: Column, frames: Any) -> None:
        self._parents, self._frames = parents, frames
        self._known: dict[int, bytes] = {0: _NO_STACK}

    def of(self, stacks: Column) -> Column:
        """The hash of each of these stacks."""
        known, which = np.unique(stacks, return_inverse=True)
        found = b"".join(map(self._hash, known.tolist()))
        return np.frombuffer(found, "V32")[which]

    def unknown(self, stack: int) -> list[int]:
        """Which frames of a stack, innermost first, have neither file nor function."""
        found, at = [], 0
        while stack:
            _, file, function = self._frames(stack)
            if file is None and function is None:
                found.append(at)
            stack, at = int(self._parents[stack]), at + 1
        return found

    def _hash(self, stack: int) -> bytes:
        missing = []
        while stack not in self._known:
            missing.append(stack)
            stack = int(self._parents[stack])
        found = self._known[stack]
        for at in reversed(missing):
            line, file, function = self._frames(at)
            found = sha256(b"".join((found, _LENGTH.pack(line), _sized(file), _sized(function)))).digest()
            self._known[at] = found
        return found


def of_segment(decoder: SegmentDecoder, known: Mapping[int, Sequence[Span]] | None = None) -> Leaves:
    """The hashes of the events of a segment, in order of slot and number.

    Args:
        decoder: of the segment.
        known: events that are not wanted: spans of numbers by slot.
    """
    segment = decoder.segment
    events = segment.events
    rows = np.lexsort((events.number, events.slot))
    if known:
        rows = rows[is_outside(events, known)[rows]]
    events = events.take(rows)
    shared = arrow.batch(decoder, rows, _SHARED)
    columns = dict(zip(shared.schema.names, shared.columns, strict=True)) | {"args": _arguments(decoder, events)}
    code_file, code_function, codes = segment.code_file, segment.code_function, segment.node_code

    def frame(node: int) -> tuple[int, str | None, str | None]:
        code = int(codes[node])
        named = (
            (segment.text(int(code_file[code])), segment.text(int(code_function[code]))) if code else (None, None)
        )
        return int(segment.node_line[node]), *named

    stacks = StackHashes(segment.node_parent, frame).of(events.stack)
    numbers = (events.time, events.number, events.slot, events.tid, events.interpreter)
    return Leaves(events.slot.astype(np.int64), events.number, _hash(numbers, columns, stacks))


def is_outside(events: Events, known: Mapping[int, Sequence[Span]]) -> Column:
    """Which events are in none of some spans.

    Args:
        known: spans of numbers by slot, in order.
    """
    found = np.ones(len(events), bool)
    for slot in {slot for slot, spans in known.items() if spans} & set(np.unique(events.slot).tolist()):
        mine = np.flatnonzero(events.slot == slot)
        numbers = events.number[mine]
        first = np.array([span[0] for span in known[slot]], np.uint64)
        last = np.array([span[1] - 1 for span in known[slot]], np.uint64)
        which = np.searchsorted(first, numbers, "right")  # the span that can hold it, counted from 1
        found[mine] = (which == 0) | (numbers > last[which - 1])
    return found


def of_table(table: pa.Table, stacks: StackHashes) -> Leaves:
    """The hashes of events in the archive, in the order in which they stand.

    Args:
        table: the columns COLUMNS of them.
        stacks: those of their batch.
    """
    slot, number, tid, interpreter = (table[name].to_numpy() for name in ("slot", "number", "tid", "interpreter"))
    number = number.astype(np.uint64)
    time = table["time"].cast(pa.int64()).to_numpy() * 1000 + table["nanosecond"].to_numpy()
    columns = {name: table[name].combine_chunks() for name in _TEXTS}
    columns["args"] = _told(columns["args"])
    hashed = stacks.of(table["stack"].fill_null(0).to_numpy())
    return Leaves(slot, number, _hash((time, number, slot, tid, interpreter), columns, hashed))


def stacks_of(table: pa.Table) -> StackHashes:
    """The hashes of the stacks of a batch.

    Args:
        table: its rows of the table `stacks`, in order.
    """
    parents = np.concatenate([[0], table["parent"].fill_null(0).to_numpy()])
    parents[parents >= np.arange(len(parents))] = 0  # the end of every cycle
    line, file, function = (table[name].to_pylist() for name in ("line", "file", "function"))

    def frame(stack: int) -> tuple[int, str | None, str | None]:
        return line[stack - 1] or 0, file[stack - 1], function[stack - 1]

    return StackHashes(parents, frame)


def build_row_text(row: Mapping[str, Any]) -> bytes:
    """What is hashed of a row of the table `segments`: a JSON object."""
    return _object_text({name: value for name, value in row.items() if name not in _NOT_IN_ROW})


def hash_row(row: Mapping[str, Any]) -> str:
    """The hash of a row of the table `segments`."""
    return sha256(build_row_text(row)).hexdigest()


def hash_identity(row: Mapping[str, Any]) -> str:
    """The hash of whose a segment is, from its row."""
    return sha256(_object_text({name: row[name] for name in _IDENTITY})).hexdigest()


def _object_text(values: Mapping[str, Any]) -> bytes:
    said = {name: value for name, value in values.items() if value is not None}
    return json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _sized(text: str | None) -> bytes:
    if text is None:
        return _LENGTH.pack(_NULL)
    data = text.encode()
    return _LENGTH.pack(len(data)) + data


def _arguments(decoder: SegmentDecoder, events: Events) -> pa.Array:
    """The arguments of a segment's events, as far as they are sound."""
    args = texts.copies(decoder.segment.data, events.start, events.length).dictionary_encode()
    sound = np.array(list(map(bool, load_all(decoder, Written(args.dictionary)))), bool)
    return _told(pc.if_else(pa.array(sound), args.dictionary, pa.scalar(None, pa.binary()))).take(args.indices)


def _told(args: pa.Array) -> pa.Array:
    """Arguments without the texts that are told by length and hash as well."""
    args = args.cast(pa.binary())
    with_text = pc.find_substring(args, _TEXT_MARK).fill_null(-1).to_numpy(zero_copy_only=False) >= 0
    if not with_text.any():
        return args
    found = args.to_pylist()
    for at in np.flatnonzero(with_text).tolist():
        found[at] = without_text(found[at])
    return pa.array(found, pa.binary())


def _hash(numbers: Sequence[Column], columns: Mapping[str, pa.Array], stacks: Column) -> list[bytes]:
    found: list[bytes] = []
    for begin in range(0, len(stacks), _ROWS):
        part = slice(begin, begin + _ROWS)
        arrays = [_plain(columns[name][part]) for name in _TEXTS]
        fixed = np.zeros(len(stacks[part]), _FIXED)
        for name, column in zip(_FIXED.names[1:6], numbers, strict=True):  # type: ignore[index]
            fixed[name] = column[part]
        fixed["version"] = VERSION
        for at, array in enumerate(arrays):
            fixed["lengths"][:, at] = pc.binary_length(array).cast(pa.uint32()).fill_null(_NULL).to_numpy()
        fixed["stack"] = stacks[part]
        size = _FIXED.itemsize
        heads = pa.Array.from_buffers(pa.binary(size), len(fixed), [None, pa.py_buffer(fixed)]).cast(pa.binary())
        leaves = pc.binary_join_element_wise(heads, *arrays, b"", null_handling="replace", null_replacement=b"")
        found += [sha256(leaf).digest() for leaf in leaves.to_pylist()]
    return found


def _plain(column: pa.Array) -> pa.Array:
    if pa.types.is_list(column.type):
        column = pc.binary_join(column.cast(pa.list_(pa.string())), ",")
    return column.cast(pa.string()).cast(pa.binary()) if not pa.types.is_binary(column.type) else column
