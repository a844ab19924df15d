"""How much is in a segment, without decoding it: the standard library only.

For commands that exist where numpy does not (`run`, `doctor`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pythonaudit.errors import FormatError
from pythonaudit.journal import layout
from pythonaudit.journal.chunks import (
    Bytes,
    Chunk,
    Damage,
    Header,
    is_unbegun,
    parse_header,
    walk_chunks,
)
from pythonaudit.journal.files import RefusedError, SegmentFile, open_segment, read_segment

LOSS_NAMES = (*layout.LOSSES, *(f"reason-{slot}" for slot in range(len(layout.LOSSES), layout.LOSS_SLOTS)))


@dataclass(frozen=True, slots=True)
class Summary:
    """What one segment holds.

    Attributes:
        header: who recorded it, and how it ended (`layout.STATE_*`).
        events: how many events were recorded.
        counted: how many were counted instead.
        losses: how much was lost, by reason; reasons with nothing lost are left out.
        attributes: of the process, as docs/format/journal.md section 7 has them.
        damage: what could not be read.
    """

    header: Header
    events: int
    counted: int
    losses: dict[str, int]
    attributes: dict[str, Any]
    damage: list[Damage]

    @property
    def process(self) -> str:
        """The process that recorded, 32 hexadecimal digits."""
        return self.header.process.hex()

    @property
    def run(self) -> str | None:
        """The label of the run that it belongs to."""
        label = self.attributes.get("run")
        return label if isinstance(label, str) else None


def summarise(path: Path) -> Summary | None:
    """Summarises one segment.

    Args:
        path: `DIR/journal/uUID/….pyaudit`.

    Returns:
        None if it has been removed, or its process ended before it had written the header.

    Raises:
        FormatError: it is no segment, or one of a later, incompatible format, or may not be read.
    """
    try:
        file = SegmentFile(path, os.lstat(path.parent).st_uid)
        with open_segment(file) as descriptor:
            data = read_segment(descriptor)
    except FileNotFoundError:
        return None
    except RefusedError as error:
        raise FormatError(f"{path}: {error}") from None
    if is_unbegun(data):
        return None
    return summarise_segment(data)


def summarise_segment(data: Bytes) -> Summary:
    """Summarises the bytes of a segment.

    Raises:
        FormatError: these bytes are no segment, or one of a later, incompatible format.
    """
    header = parse_header(data)
    chunks, damage = walk_chunks(data, header)
    events = counted = 0
    attributes: list[tuple[int, dict[str, Any]]] = []
    for chunk in chunks:
        if chunk.kind != layout.CHUNK_EVENTS:
            continue
        for kind, offset in _committed(data, chunk):
            if kind == layout.ENTRY_EVENT:
                events += 1
            elif kind == layout.ENTRY_COUNT:
                counted += layout.COUNT.unpack(data, offset)["count"]
            elif kind == layout.ENTRY_META:
                meta = layout.META.unpack(data, offset)
                start = chunk.offset + meta["heap"]
                if meta["length"] <= layout.META_MAX_BYTES and start + meta["length"] <= chunk.end:
                    text = bytes(data[start : start + meta["length"]])
                    attributes.append((meta["ticks"], parse_attributes(text)))
    merged: dict[str, Any] = {}
    for _, found in sorted(attributes, key=lambda pair: pair[0]):
        merged |= found
    return Summary(header, events, counted, named_losses(header), merged, damage)


def named_losses(header: Header) -> dict[str, int]:
    """The losses that a header counts, by reason, without those that are zero."""
    return {name: count for name, count in zip(LOSS_NAMES, header.losses, strict=True) if count}


def parse_attributes(text: bytes) -> dict[str, Any]:
    """The JSON object of a META entry; empty if it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _committed(data: Bytes, chunk: Chunk) -> Iterator[tuple[int, int]]:
    """Kind and offset in the file of each committed entry of an events chunk."""
    commit = chunk.generation.to_bytes(4, "little")
    for offset in range(
        chunk.end - chunk.entry_size, chunk.offset + layout.CHUNK_HEADER_SIZE - 1, -chunk.entry_size
    ):
        if data[offset : offset + 4] != commit:
            return
        yield data[offset + 4], offset
