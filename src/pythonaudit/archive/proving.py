"""Segments of the archive, hashed anew: what the proofs of their events are made of.

    found = find_segments(archive, wanted)                       # in which batch each is, and its row
    for one in hash_segments(archive, entry, rows): ...          # one after the other, each of its events hashed

Only the row groups that hold a wanted segment are read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pythonaudit.archive import leaves, schema
from pythonaudit.archive.manifest import Archive, Entry, Part
from pythonaudit.archive.parts import read_part
from pythonaudit.archive.stored import read_segments
from pythonaudit.integrity.state import Key

Row = Mapping[str, Any]  # of the table `segments`


@dataclass(frozen=True, slots=True)
class Hashed:
    """A segment, its events in order of slot and number.

    Attributes:
        key: which.
        row: of it.
        hashes: of its events.
        places: position of each, by slot and number.
    """

    key: Key
    row: Row
    hashes: list[bytes]
    places: dict[tuple[int, int], int]
    _events: pa.Table
    _stacks: leaves.StackHashes

    def exact(self, place: int) -> dict[str, Any]:
        """What the JSON of an event can say in other words, exactly as it was hashed: its `args` and `context`, and
        which frames of its stack have a file and a function that are `unknown`, not empty.
        """
        found = {name: self._events[name][place].as_py() for name in ("args", "context")}
        found["unknown"] = self._stacks.unknown(self._events["stack"][place].as_py() or 0) or None
        return {name: value for name, value in found.items() if value is not None}


def find_segments(archive: Archive, wanted: Collection[Key]) -> Iterator[tuple[Entry, dict[Key, Row]]]:
    """The batches that hold wanted segments, and the rows of these.

    Raises:
        FileNotFoundError: a part has gone: its batch was put together with others, or it is damaged.
        StoreError: the archive may not be read.
    """
    processes = pa.array(sorted({process for process, _, _ in wanted}), pa.string())
    for entry in archive.entries():
        table = read_segments(archive, entry)
        if table is None:
            raise FileNotFoundError(f"{entry.batch}: its part of segments is not there")
        rows = table.filter(pc.is_in(table["process"], processes)).to_pylist()
        here = {_key_of(row): row for row in rows if _key_of(row) in wanted}
        if here:
            yield entry, here


def hash_segments(archive: Archive, entry: Entry, rows: Mapping[Key, Row]) -> Iterator[Hashed]:
    """Segments of a batch, hashed anew. Those of which events are missing are left out; what is damaged is noted.

    Args:
        archive: where the batch is.
        entry: of the batch.
        rows: which segments.

    Raises:
        FileNotFoundError: a part has gone.
        OSError: it cannot be read.
    """
    if not rows:
        return
    pieces: dict[Key, list[pa.Table]] = {}  # of segments that go on in another row group or part
    try:
        tables = [read_part(archive, part) for part in entry.of("stacks")]
        stacks = leaves.stacks_of(pa.concat_tables([schema.STACKS.empty_table(), *tables]))
        for part in entry.of("events"):
            for key, events in _read_events(archive, part, rows):
                pieces.setdefault(key, []).append(events)
                if sum(map(len, pieces[key])) == rows[key]["events"]:
                    yield _hash(key, rows[key], pa.concat_tables(pieces.pop(key)), stacks)
    except pa.ArrowException as error:
        archive.note(entry.batch, error)


def _read_events(archive: Archive, part: Part, rows: Mapping[Key, Row]) -> Iterator[tuple[Key, pa.Table]]:
    for group in range(pq.read_metadata(archive.path(part)).num_row_groups):
        keys = read_part(archive, part, ("process", "sequence", "uid"), dictionaries=("process",), group=group)
        spans = [span for span in _spans(keys) if span[0] in rows]
        if spans:
            events = read_part(archive, part, leaves.COLUMNS, group=group)
            for key, first, end in spans:
                yield key, events.slice(first, end - first)


def _hash(key: Key, row: Row, events: pa.Table, stacks: leaves.StackHashes) -> Hashed:
    number = events["number"].to_numpy().astype(np.uint64)
    events = events.take(pa.array(np.lexsort((number, events["slot"].to_numpy()))))
    found = leaves.of_table(events, stacks)
    ids = zip(found.slot.tolist(), found.number.tolist(), strict=True)
    return Hashed(key, row, found.hashes, {of: place for place, of in enumerate(ids)}, events, stacks)


def _spans(keys: pa.Table) -> Iterator[tuple[Key, int, int]]:
    """Which rows are of which segment: those of one stand together."""
    process = keys["process"].combine_chunks()
    which, sequence, uid = process.indices.to_numpy(), keys["sequence"].to_numpy(), keys["uid"].to_numpy()
    changes = (which[1:] != which[:-1]) | (sequence[1:] != sequence[:-1]) | (uid[1:] != uid[:-1])
    bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(keys)]
    for first, end in pairwise(bounds):
        yield (process[first].as_py(), int(sequence[first]), int(uid[first])), first, end


def _key_of(row: Row) -> Key:
    return row["process"], row["sequence"], row["uid"]
