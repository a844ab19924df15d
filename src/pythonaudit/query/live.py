"""The journal as tables of the archive's shape: what was recorded and is not archived yet.

Each table can be read again and again, by whoever takes Arrow streams (DuckDB does), and is made anew each
time, segment by segment: nothing but the segment in hand is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from pythonaudit.archive import schema
from pythonaudit.archive.columns import build_events
from pythonaudit.archive.segments import build_row
from pythonaudit.archive.trie import build_stacks
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal, Key, SegmentHead

PREFIX = "live:"


class LiveTables:
    """The segments that are in the journal now.

    Args:
        journal: which; what is archived it leaves out.
        wanted: segments that cannot hold a wanted event are left out of `events` and `stacks`, those with none but
            `without_names` of `events`, and those of the process `without` of everything.
    """

    def __init__(self, journal: Journal, wanted: EventFilter) -> None:
        self._journal = journal
        self._others = EventFilter(without_names=wanted.without_names)
        self._heads = [head for head in journal.heads() if head.header.process.hex() != wanted.without]
        self._wanted = [head for head in self._heads if wanted.wants_segment(head.header, head.end_ns)]
        self._by_batch = {name_batch(head.key): head for head in self._heads}
        self.events = Stream(schema.EVENTS, self._events)
        self.stacks = Stream(schema.STACKS, self._stacks)
        self.segments = Stream(schema.SEGMENTS, self._segments)

    def decoder(self, batch: str) -> SegmentDecoder | None:
        """The segment that is called so in the column `batch`."""
        head = self._by_batch.get(batch)
        return self._journal.load(head) if head else None

    def _events(self) -> Iterator[pa.Table]:
        for head, decoder in self._loaded(self._wanted):
            mask = self._others.mask(decoder)
            if mask is not None and not mask.any():
                continue  # making a table of it takes ten times what reading it took
            yield build_events(decoder, None, name_batch(head.key))

    def _stacks(self) -> Iterator[pa.Table]:
        for head, decoder in self._loaded(self._wanted):
            yield build_stacks(decoder, name_batch(head.key))

    def _segments(self) -> Iterator[pa.Table]:
        for head, decoder in self._loaded(self._heads):
            row = build_row(decoder, head.file.path.name, name_batch(head.key), decoder.segment.damage)
            yield pa.Table.from_pylist([row], schema.SEGMENTS)

    def _loaded(self, heads: list[SegmentHead]) -> Iterator[tuple[SegmentHead, SegmentDecoder]]:
        for head in heads:
            decoder = self._journal.load(head)
            if decoder is not None:
                yield head, decoder


class Stream:
    """A table that is made while it is read (the Arrow PyCapsule interface).

    Args:
        columns: its schema.
        tables: makes its rows.
    """

    def __init__(self, columns: pa.Schema, tables: Callable[[], Iterator[pa.Table]]) -> None:
        self._columns = columns
        self._tables = tables

    def __arrow_c_stream__(self, requested: object = None) -> object:
        reader = pa.RecordBatchReader.from_batches(self._columns, self._batches())
        return reader.__arrow_c_stream__(requested)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for table in self._tables():
            yield from table.cast(self._columns).to_batches()


def name_batch(key: Key) -> str:
    """What stands in the column `batch` of a segment of the journal."""
    process, sequence, uid = key
    return f"{PREFIX}{process}/{sequence}/{uid}"
