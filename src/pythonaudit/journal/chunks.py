"""Header and chain of chunks of one segment. Bytes in, values out; the standard library only.

The chain is the one place where a damaged number can hide everything behind it, so it is followed
with suspicion: where no sound chunk header stands, the next multiple of 4096 at which one does is
looked for, and what lies between is reported (docs/format/journal.md, 11.5).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pythonaudit.errors import FormatError
from pythonaudit.journal import layout

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a segment; fields as in docs/format/journal.md, ids as bytes."""

    format_minor: int
    header_size: int
    process: bytes
    parent: bytes
    boot: bytes
    sequence: int
    state: int
    pid: int
    ppid: int
    pid_start: int
    pid_namespace: int
    uid: int
    gid: int
    clock: int
    way: int
    ticks_hz: int
    begin_ticks: int
    begin_monotonic: int
    begin_realtime: int
    end_ticks: int
    end_monotonic: int
    end_realtime: int
    used: int
    canary: int
    drained: int
    beat_monotonic: int
    beat_realtime: int
    losses: tuple[int, ...]


class Chunk(NamedTuple):
    """One sound chunk: it lies in the segment, with room for its header and one entry."""

    offset: int
    size: int
    generation: int
    kind: int
    entry_size: int
    first_id: int

    @property
    def end(self) -> int:
        """Where the next chunk starts."""
        return self.offset + self.size

    @property
    def capacity(self) -> int:
        """How many entries fit."""
        return (self.size - layout.CHUNK_HEADER_SIZE) // self.entry_size


class Damage(NamedTuple):
    """Bytes of a file that make no sense."""

    path: Path | None
    offset: int
    length: int
    reason: str


_NOT_IN_HEADER = ("magic", "format_major", "incompatible", "compatible", "losses")
_FLAG_BITS = 32


def is_unbegun(data: Bytes) -> bool:
    """Whether a process has not yet, or never, finished the header: no segment, and no damage."""
    if data[: len(layout.MAGIC)] == layout.MAGIC and _state(data) == layout.STATE_VOID:
        return True
    magic, chunk = bytes(data[: len(layout.MAGIC)]), data[layout.HEADER_SIZE :][:4]
    return not magic.strip(b"\0") and not bytes(chunk).strip(b"\0")


def _state(data: Bytes) -> int:
    offset, _ = layout.HEADER.fields["state"]
    return int.from_bytes(data[offset : offset + 4], "little")


def is_same_segment(earlier: Header, data: Bytes) -> bool:
    """Whether a header that was read again is of the same segment: its file may be a later one's by now."""
    if is_unbegun(data):
        return False
    later = parse_header(data)
    return (earlier.process, earlier.sequence, earlier.begin_realtime) == (
        later.process,
        later.sequence,
        later.begin_realtime,
    )


def parse_header(data: Bytes) -> Header:
    """Reads a segment's header.

    Raises:
        FormatError: these bytes are no segment, or one of a later, incompatible format.
    """
    if len(data) < layout.HEADER_SIZE:
        raise FormatError(f"no journal segment: {len(data)} bytes are less than a header")
    fields = layout.HEADER.unpack(data)
    if fields["magic"] != layout.MAGIC:
        raise FormatError("no journal segment: it does not begin with PYAUDIT")
    newer = "read it with a newer version of pythonaudit"
    if fields["format_major"] != layout.FORMAT_MAJOR:
        raise FormatError(f"journal format {fields['format_major']} is not known here", hint=newer)
    unknown = fields["incompatible"] & ~layout.INCOMPATIBLE_KNOWN
    if unknown:
        bits = ", ".join(str(bit) for bit in range(_FLAG_BITS) if unknown >> bit & 1)
        raise FormatError(f"journal format flag {bits} is not known here", hint=newer)
    losses = struct.unpack(f"<{layout.LOSS_SLOTS}Q", fields["losses"])
    for name in _NOT_IN_HEADER:
        del fields[name]
    return Header(**fields, losses=losses)


def walk_chunks(data: Bytes, header: Header) -> tuple[list[Chunk], list[Damage]]:
    """The sound chunks of a segment in order of offset, and what is damaged between them."""
    chunks: list[Chunk] = []
    damage: list[Damage] = []
    if header.used > len(data):
        cut = header.used - len(data)
        damage.append(Damage(None, len(data), cut, "the file was cut"))
    limit = min(header.used, len(data))
    place = header.header_size
    if not layout.HEADER_SIZE <= place <= len(data) or place % layout.CHUNK_ALIGN:
        damage.append(Damage(None, 12, 4, f"header_size {place} makes no sense"))
        place = layout.HEADER_SIZE
    while True:
        chunk = _chunk_at(data, place)
        if chunk is None:
            found = _find_chunk(data, place + layout.CHUNK_ALIGN, limit)
            end = found.offset if found else limit
            if place < end and not _is_unpublished(data, place, end):
                damage.append(Damage(None, place, end - place, "no chunk where one should be"))
            if found is None:
                break
            chunk = found
        if chunks and chunk.generation != chunks[-1].generation + 1:
            swallowed = _swallowed(data, chunks[-1])
            if swallowed is not None:
                last = chunks.pop()
                lost = swallowed.offset - last.offset
                damage.append(Damage(None, last.offset, lost, f"chunk size {last.size} is wrong"))
                chunk = swallowed
        chunks.append(chunk)
        place = chunk.end
    if chunks and chunks[-1].end > header.used and header.state != layout.STATE_OPEN:
        reason = f"a chunk ends at {chunks[-1].end}, behind the end of all, {header.used}"
        damage.append(Damage(None, chunks[-1].offset, chunks[-1].size, reason))
    return chunks, damage


def _chunk_at(data: Bytes, offset: int, magic: int = layout.CHUNK_MAGIC) -> Chunk | None:
    """The sound chunk at an offset."""
    if offset + layout.CHUNK_HEADER_SIZE > len(data):
        return None
    found, size, generation, kind, entry_size, first_id = layout.CHUNK.struct.unpack_from(data, offset)
    sound = (
        found == magic
        and size > 0
        and size % layout.CHUNK_ALIGN == 0
        and offset + size <= len(data)
        and generation != 0
        and layout.ENTRY_SIZES.get(kind, 1) <= entry_size <= layout.ENTRY_MAX_BYTES
    )
    return Chunk(offset, size, generation, kind, entry_size, first_id) if sound else None


def _find_chunk(data: Bytes, start: int, end: int) -> Chunk | None:
    for offset in range(start, end, layout.CHUNK_ALIGN):
        chunk = _chunk_at(data, offset)
        if chunk is not None:
            return chunk
    return None


def _is_unpublished(data: Bytes, start: int, end: int) -> bool:
    """Whether a row of chunks that were handed out and never published fills this place."""
    while start < end:
        chunk = _chunk_at(data, start, magic=0)
        if chunk is None:
            return False
        start = chunk.end
    return start == end


def _swallowed(data: Bytes, spanning: Chunk) -> Chunk | None:
    """The chunk that follows in truth, where a chunk's damaged size spans it."""
    for offset in range(spanning.offset + layout.CHUNK_ALIGN, spanning.end, layout.CHUNK_ALIGN):
        chunk = _chunk_at(data, offset)
        if chunk is not None and chunk.generation == spanning.generation + 1:
            return chunk
    return None
