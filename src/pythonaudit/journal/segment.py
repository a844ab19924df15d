"""Entries and definitions of one segment, as numpy columns. Bytes in, values out.

Nothing is parsed entry by entry: the fixed-size entries of all chunks are viewed as one array, and
each rule of docs/format/journal.md is one or two operations on whole columns. Every offset and id is
checked against what it points into; what fails costs its row and is reported.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pythonaudit.journal import clock, layout
from pythonaudit.journal.chunks import Bytes, Chunk, Damage, Header, parse_header, walk_chunks

Column = npt.NDArray[Any]


def _dtype(shape: layout.Shape) -> np.dtype[Any]:
    return np.dtype(
        {
            "names": list(shape.fields),
            "formats": [np.dtype(f"<{code}") for _, code in shape.fields.values()],
            "offsets": [offset for offset, _ in shape.fields.values()],
            "itemsize": shape.size,
        }
    )


_EVENT, _OWNER, _ANCHOR, _COUNT, _META = map(
    _dtype, (layout.EVENT, layout.OWNER, layout.ANCHOR, layout.COUNT, layout.META)
)

# Fields of a context (a string id), trace id and span id; each can be none.
Context = tuple[int, bytes, bytes]
_NO_CONTEXT: Context = (0, b"", b"")


@dataclass(frozen=True, slots=True)
class Events:
    """Events, one row each; rows of a thread are in order, those of threads are not interleaved.

    `start` and `length` give the arguments in the segment's bytes (length 0: no arguments);
    `name` is a string id, 0 where the name has `inline` bytes behind the arguments instead;
    `context` is a position in the segment's contexts, `thread` the string id of the thread's name.
    """

    time: Column  # int64, ns
    source: Column
    notes: Column
    name: Column
    inline: Column
    stack: Column
    start: Column
    length: Column
    slot: Column
    tid: Column
    interpreter: Column
    number: Column
    context: Column
    thread: Column

    def __len__(self) -> int:
        return len(self.time)

    def columns(self) -> tuple[Column, ...]:
        """The columns in the order above."""
        return tuple(getattr(self, name) for name in self.__slots__)

    def take(self, which: Column) -> Events:
        """Some of the rows, by mask or by positions."""
        return Events(*(column[which] for column in self.columns()))


@dataclass(frozen=True, slots=True)
class Count:
    """Events that were counted instead of recorded: string id of the name, source, how many."""

    name: int
    source: int
    count: int


@dataclass(slots=True)
class Segment:
    """One segment.

    Attributes:
        header: its header.
        data: its bytes, which the columns point into.
        string_start, string_length: of each string, by id; row 0 is the absent one.
        code_file, code_function, code_library: of each code object, by id; whether it is of the standard library.
        node_parent, node_code, node_line: of each stack node, by id.
        events: the events.
        contexts: those of the events, each once; the first is none.
        counts: the COUNT entries.
        attributes: JSON of each META entry, in order.
        positions: how many entries of each events chunk are in, by offset of the chunk.
        damage: what could not be read.
    """

    header: Header
    data: Bytes
    string_start: Column
    string_length: Column
    code_file: Column
    code_function: Column
    code_library: Column
    node_parent: Column
    node_code: Column
    node_line: Column
    events: Events
    contexts: list[Context]
    counts: list[Count]
    attributes: list[bytes]
    positions: dict[int, int]
    damage: list[Damage]
    _texts: dict[int, str] = field(default_factory=dict)

    def string(self, number: int) -> bytes:
        """The string with this id; empty if there is none."""
        start = int(self.string_start[number])
        return bytes(self.data[start : start + int(self.string_length[number])])

    def text(self, number: int) -> str:
        """The same as text; bytes that are not UTF-8 are replaced."""
        text = self._texts.get(number)
        if text is None:
            text = self._texts[number] = self.string(number).decode("utf-8", "replace")
        return text

    def find_texts(self, texts: Collection[str]) -> list[int]:
        """The ids of strings that are one of some texts."""
        lengths = [len(text.encode()) for text in texts]
        long = np.flatnonzero(np.isin(self.string_length, lengths)).tolist()
        return [number for number in {*long, *self._texts} if self.text(number) in texts]

    def stack(self, node: int) -> list[tuple[str, int, str]]:
        """File, line and function of each frame of a stack, innermost first."""
        frames: list[tuple[str, int, str]] = []
        while node and len(frames) < layout.STACK_MAX_NODES:
            code = int(self.node_code[node])
            file = self.text(int(self.code_file[code]))
            function = self.text(int(self.code_function[code]))
            frames.append((file, int(self.node_line[node]), function))
            node = int(self.node_parent[node])
        return frames


def parse_segment(
    data: Bytes, limits: Mapping[int, int] | None = None, seen: Mapping[int, int] | None = None
) -> Segment:
    """Reads a segment.

    A copy of a segment that is being written is no instant: the copying of a chunk passes its heap
    before it comes to the commit words that vouch for it. So two copies are taken, one after the
    other: what is committed in the earlier is whole in the later.

    Args:
        data: the bytes of the segment.
        limits: `count_committed` of an earlier copy; None: `data` is not being written.
        seen: `positions` of an earlier reading: only what came after them is wanted.

    Raises:
        FormatError: these bytes are no segment, or one of a later, incompatible format.
    """
    header = parse_header(data)
    chunks, damage = walk_chunks(data, header)
    by_kind: dict[int, list[Chunk]] = {kind: [] for kind in layout.ENTRY_SIZES}
    for chunk in chunks:
        by_kind.get(chunk.kind, []).append(chunk)
    string_start, string_length = _parse_strings(data, by_kind[layout.CHUNK_STRINGS], damage)
    code_file, code_function, code_line = _parse_triples(data, by_kind[layout.CHUNK_CODES], damage)
    node_parent, node_code, node_line = _parse_triples(data, by_kind[layout.CHUNK_NODES], damage)
    strings = len(string_start)
    code_file[code_file >= strings] = 0
    code_function[code_function >= strings] = 0
    node_code[node_code >= len(code_file)] = 0
    node_parent[node_parent >= np.arange(len(node_parent))] = 0  # the end of every cycle
    entries = _Entries(data, limits, by_kind[layout.CHUNK_EVENTS], dict(seen or {}))
    return Segment(
        header=header,
        data=data,
        string_start=string_start,
        string_length=string_length,
        code_file=code_file,
        code_function=code_function,
        code_library=code_line & layout.CODE_STDLIB != 0,
        node_parent=node_parent,
        node_code=node_code,
        node_line=node_line,
        events=entries.events(header, strings, len(node_parent), damage),
        contexts=entries.contexts,
        counts=entries.counts(strings),
        attributes=entries.attributes(damage),
        positions=entries.positions,
        damage=damage,
    )


def count_committed(data: Bytes) -> dict[int, int]:
    """How many entries of each events chunk are committed in a copy, by offset of the chunk.

    Raises:
        FormatError: as `parse_segment`.
    """
    chunks, _ = walk_chunks(data, parse_header(data))
    events = (chunk for chunk in chunks if chunk.kind == layout.CHUNK_EVENTS)
    return {chunk.offset: len(committed(data, chunk)) for chunk in events}


def committed(data: Bytes, chunk: Chunk) -> Column:
    """The committed entries of a chunk, in order: a view, one row of 32-bit words each."""
    words = layout.ENTRY_SIZES[chunk.kind] // 4
    rows: Column = np.ndarray(
        (chunk.capacity, words),
        "<u4",
        data,
        chunk.end - chunk.capacity * chunk.entry_size,
        (chunk.entry_size, 4),
    )[::-1]
    other = rows[:, 0] != chunk.generation
    first = int(other.argmax())
    return rows[:first] if other[first] else rows


def _parse_strings(data: Bytes, chunks: list[Chunk], damage: list[Damage]) -> tuple[Column, Column]:
    """Start and length of each string, by id."""
    parts = []
    for chunk, first, rows in _definitions(data, chunks, damage):
        heap, length = rows[:, 1].astype(np.int64), rows[:, 2].astype(np.int64)
        bottom = chunk.size - len(rows) * chunk.entry_size
        bad = (heap < layout.CHUNK_HEADER_SIZE) | (heap + length > bottom)
        bad |= length > layout.STRING_MAX_BYTES
        bad |= np.cumsum(np.where(bad, 0, length)) > chunk.size
        bad &= length > 0
        _report(damage, chunk, bad, "strings outside of the heap")
        length[bad] = 0
        parts.append((first, np.stack([chunk.offset + heap, length])))
    start, length = _by_id(parts, 2, np.dtype(np.int64))
    return start, length


def _parse_triples(data: Bytes, chunks: list[Chunk], damage: list[Damage]) -> Sequence[Column]:
    """The three words after the commit word of codes or nodes, by id."""
    found = _definitions(data, chunks, damage)
    return _by_id([(first, rows[:, 1:4].T) for _, first, rows in found], 3, np.dtype(np.uint32))


def _definitions(data: Bytes, chunks: list[Chunk], damage: list[Damage]) -> list[tuple[Chunk, int, Column]]:
    """Chunk, id of its first entry and entries, of chunks whose ids are possible."""
    found = []
    for chunk in chunks:
        rows = committed(data, chunk)
        # Ids are dense, so one larger than what fits before the chunk's end is forged.
        if not 1 <= chunk.first_id <= chunk.end // layout.STRING.size - len(rows):
            reason = f"first id {chunk.first_id} makes no sense"
            damage.append(Damage(None, chunk.offset, chunk.size, reason))
        elif len(rows):
            found.append((chunk, chunk.first_id, rows))
    return found


def _by_id(parts: list[tuple[int, Column]], columns: int, dtype: np.dtype[Any]) -> Sequence[Column]:
    size = max((first + part.shape[1] for first, part in parts), default=1)
    table = np.zeros((columns, size), dtype)
    for first, part in parts:
        table[:, first : first + part.shape[1]] = part
    return tuple(table)


def _report(damage: list[Damage], chunk: Chunk, bad: Column, reason: str) -> None:
    count = int(bad.sum())
    if count:
        damage.append(Damage(None, chunk.offset, count * chunk.entry_size, f"{count} {reason}"))


class _Entries:
    """The entries of all events chunks that have news, one after the other."""

    def __init__(
        self,
        data: Bytes,
        limits: Mapping[int, int] | None,
        chunks: list[Chunk],
        seen: dict[int, int],
    ) -> None:
        self.data = data
        self.positions = seen
        self.chunks: list[Chunk] = []
        parts: list[Column] = []
        skips: list[int] = []
        for chunk in chunks:
            rows = committed(data, chunk)
            if limits is not None:
                rows = rows[: limits.get(chunk.offset, 0)]
            skip = seen.get(chunk.offset, 0)
            if len(rows) > skip:
                self.chunks.append(chunk)
                parts.append(rows)
                skips.append(skip)
                self.positions[chunk.offset] = len(rows)
        lengths = np.array([len(part) for part in parts], np.int64)
        self.starts = np.cumsum(lengths) - lengths
        self.rows = np.concatenate(parts) if parts else np.zeros((0, 8), np.uint32)
        self.chunk = np.repeat(np.arange(len(parts)), lengths)
        self.wanted = np.ones(len(self.rows), bool)
        for start, skip in zip(self.starts.tolist(), skips, strict=True):
            self.wanted[start : start + skip] = False
        self.kind = self._as(_EVENT)["kind"].copy()
        self.offset = np.array([c.offset for c in self.chunks], np.int64)
        self.size = np.array([c.size for c in self.chunks], np.int64)
        entry_size = np.array([c.entry_size for c in self.chunks], np.int64)
        self.bottom = self.size - lengths * entry_size
        self.contexts = [_NO_CONTEXT]

    def _as(self, dtype: np.dtype[Any], at: Column | None = None) -> Column:
        """The entries, or those at some positions, as structures."""
        # Taken as words: numpy takes structures field by field.
        rows = self.rows if at is None else self.rows.take(at, 0)
        return rows.view(dtype).reshape(len(rows))

    def events(self, header: Header, strings: int, nodes: int, damage: list[Damage]) -> Events:
        is_event = self.kind == layout.ENTRY_EVENT
        at = np.flatnonzero(is_event & self.wanted)
        event = self._as(_EVENT, at)
        owners, owned = self._nearest(layout.ENTRY_OWNER)
        outside = self._outside(at, event)
        unowned = (owners < 0)[owned[at]]
        bad = outside | unowned
        if bad.any():
            chunk = self.chunk[at]
            for index in np.unique(chunk[bad]):
                here = chunk == index
                _report(damage, self.chunks[index], outside & here, "events with a wrong heap range")
                _report(damage, self.chunks[index], unowned & here, "events of no known thread")
            at, event = at[~bad], event[~bad]

        name = np.where(event["name"] & layout.NAME_INLINE, 0, event["name"])
        name[name >= strings] = 0
        stack = event["stack"].copy()
        stack[stack >= nodes] = 0
        owner, owned = self._as(_OWNER, owners), owned[at]
        counted = np.cumsum(is_event).astype(np.uint64)
        first = owner["number"] - counted[owners] - np.uint64(1)
        return Events(
            time=self._times(at, event["ticks"], header),
            source=event["source"],
            notes=event["notes"],
            name=name,
            inline=_inline_length(event["name"]),
            stack=stack,
            start=self.offset[self.chunk[at]] + event["heap"],
            length=event["length"].astype(np.int64),
            slot=owner["slot"][owned],
            tid=owner["tid"][owned],
            interpreter=owner["interpreter"][owned],
            number=first[owned] + counted[at],
            context=self._contexts(at, strings),
            thread=self._threads(at, strings),
        )

    def _contexts(self, at: Column, strings: int) -> Column:
        """Which of `contexts`, that are found here, each event is in."""
        kinds = layout.ENTRY_CONTEXT, layout.ENTRY_TRACE
        if not np.isin(self.kind, kinds).any():
            return np.zeros(len(at), np.int32)
        places = [self._said(kind, at) for kind in kinds]
        pairs, which = np.unique(np.stack(places), axis=1, return_inverse=True)
        known: dict[Context, int] = {_NO_CONTEXT: 0}
        positions = [
            known.setdefault(self._context(fields, trace, strings), len(known))
            for fields, trace in pairs.T.tolist()
        ]
        self.contexts = list(known)
        return np.array(positions, np.int32)[which.reshape(-1)]

    def _said(self, kind: int, at: Column) -> Column:
        """Where an entry of this kind is that holds for each event; -1: its owner begins without."""
        begins, which = self._nearest(kind, layout.ENTRY_OWNER)
        begins[(begins < 0) | (self.kind[begins] != kind)] = -1
        return begins[which[at]]

    def _threads(self, at: Column, strings: int) -> Column:
        """String ids of the names of threads."""
        if not (self.kind == layout.ENTRY_THREAD).any():
            return np.zeros(len(at), np.uint32)
        said = self._said(layout.ENTRY_THREAD, at)
        name = np.where(said < 0, 0, self.rows[said, 2])
        name[name >= strings] = 0
        return name

    def _context(self, fields: int, trace: int, strings: int) -> Context:
        """The context that two entries make; -1: there is none."""
        number = int(self.rows[fields, 2]) if fields >= 0 else 0
        ids = self.rows[trace].tobytes()[8:32] if trace >= 0 else bytes(24)
        traced = (ids[:16], ids[16:]) if any(ids[:16]) else (b"", b"")
        return (number if number < strings else 0, *traced)

    def _outside(self, at: Column, event: Column) -> Column:
        """Which events have arguments or names that do not lie in the heap of their chunk."""
        chunk = self.chunk[at]
        inline = _inline_length(event["name"])
        heap, length = event["heap"].astype(np.int64), event["length"].astype(np.int64)
        total = length + inline
        outside = (heap < layout.CHUNK_HEADER_SIZE) | (heap + total > self.bottom[chunk])
        outside |= (length > layout.ARGUMENTS_MAX_BYTES) | (inline > layout.NAME_MAX_BYTES)
        # A small file must not make a large answer: the same bytes are not given out again and again.
        together = np.cumsum(np.where(outside, 0, total))
        before = np.concatenate([[0], together])[np.searchsorted(at, self.starts)]
        outside |= together > (before + self.size)[chunk]
        outside &= total > 0
        return outside

    def counts(self, strings: int) -> list[Count]:
        rows = self._as(_COUNT)[(self.kind == layout.ENTRY_COUNT) & self.wanted]
        return [
            Count(name if name < strings else 0, source, count)
            for name, source, count in rows[["name", "source", "count"]].tolist()
        ]

    def attributes(self, damage: list[Damage]) -> list[bytes]:
        at = np.flatnonzero((self.kind == layout.ENTRY_META) & self.wanted)
        rows = self._as(_META)[at]
        found = []
        for index in np.argsort(rows["ticks"], kind="stable").tolist():
            which = int(self.chunk[at[index]])
            chunk = self.chunks[which]
            heap, length = int(rows["heap"][index]), int(rows["length"][index])
            inside = layout.CHUNK_HEADER_SIZE <= heap <= self.bottom[which] - length
            if length > layout.META_MAX_BYTES or not inside:
                reason = "attributes outside of the heap"
                damage.append(Damage(None, chunk.offset, chunk.entry_size, reason))
                continue
            start = chunk.offset + heap
            found.append(bytes(self.data[start : start + length]))
        return found

    def _nearest(self, *kinds: int) -> tuple[Column, Column]:
        """Positions of entries of these kinds, or -1, and for each entry which of them is the nearest before
        it in its chunk.
        """
        is_one = np.isin(self.kind, kinds)
        is_begin = is_one.copy()
        is_begin[self.starts] = True
        begins = np.flatnonzero(is_begin)
        which = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(self.rows)))
        return np.where(is_one[begins], begins, -1), which

    def _times(self, at: Column, ticks: Column, header: Header) -> Column:
        """Time of each event from the anchor before it; without one, from the segment's begin."""
        begin = clock.Instant(header.begin_ticks, header.begin_monotonic, header.begin_realtime)
        anchors, which = self._nearest(layout.ENTRY_ANCHOR)
        anchor = self._as(_ANCHOR, anchors)
        instants = clock.Instants(anchor["ticks"], anchor["monotonic"], anchor["realtime"])
        for column, value in zip(instants, begin, strict=True):
            column[anchors < 0] = value
        return clock.times(ticks, which[at], instants, begin, header.ticks_hz)


def _inline_length(name: Column) -> Column:
    """How long a name is that is stored with its event; 0: it is not."""
    inline: Column = np.where(name & layout.NAME_INLINE, name & ~np.uint32(layout.NAME_INLINE), 0).astype(np.int64)
    return inline
