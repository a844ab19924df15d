"""The archive beside a journal: which segments are in it, and their events as the journal gives them.

    journal = Journal(directory, archived=ArchivedSegments(Archive(directory)))
    for event in journal.events(wanted): ...     # of the archive and of the journal, in one order

Segments move from the journal into the archive, and from batch to batch, while somebody reads. Each is known
by its process, sequence and owner, and found again by them: what has gone from the journal is looked for here, and
what has gone from one batch in the batches that replace it. So a reader lists the journal first, looks here
second (`refresh`), and misses nothing and sees nothing twice. What retention removes meanwhile is not there any more,
also where the journal still has it.

Parquet is only loaded where there is an archive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, KeysView
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from pythonaudit.archive.dropped import load_dropped
from pythonaudit.archive.manifest import Archive, Entry
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.merge import Source
from pythonaudit.journal.reader import Key
from pythonaudit.journal.survey import Recorded

if TYPE_CHECKING:
    import pyarrow as pa

    from pythonaudit.archive.stored import Batch, Row

_KEPT_BATCHES = 4


# Of the table `segments`: all that is asked of every segment.
_COLUMNS = (
    "process",
    "sequence",
    "uid",
    "drained",
    "begin_ns",
    "end_ns",
    "pid",
    "run",
    "host",
    "way",
    "events",
    "losses",
)


class _Place(NamedTuple):
    """Where a segment is, and what can tell that it is not wanted.

    Attributes:
        batch: in which batch.
        row: which row of its table `segments`.
        drained: how many of its process it says had been drained.
        begin_realtime, end_ns: when it was begun, and when closed; nanoseconds since 1970.
        process, id: whose: bytes, and hexadecimal digits.
        pid, run, host, way: of the process.
        events: how many it holds.
        has_losses: whether something was lost.
    """

    batch: str
    row: int
    drained: int
    begin_realtime: int
    end_ns: int
    process: bytes
    id: str
    pid: int
    run: str | None
    host: str | None
    way: str
    events: int
    has_losses: bool


class ArchivedSegments:
    """What the archive adds to a journal.

    Args:
        archive: what is damaged in it is noted there.

    Attributes:
        changes: how often there were others than before.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.changes = 0
        self._version: int | None = None
        self._entries: dict[str, Entry] = {}
        self._tables: dict[str, pa.Table] = {}  # `_COLUMNS` of `segments`, by batch
        self._places: dict[Key, _Place] = {}
        self._dropped: frozenset[Key] = frozenset()  # by retention; some are in the journal still
        self._torn: set[str] = set()  # batches that count although a part is not there
        # Batches all of whose segments are in later ones as well: what was between the two is not there (a bucket).
        self._doubled: set[str] = set()
        self._batch = lru_cache(_KEPT_BATCHES)(self._open_batch)

    @property
    def exists(self) -> bool:
        """Whether there is an archive."""
        return self.archive.exists

    def problems(self) -> list[str]:
        """What could not be read, in whatever has been read by now."""
        return self.archive.problems()

    def refresh(self) -> bool:
        """Looks which segments there are now; whether anything has changed.

        Raises:
            StoreError: the archive may not be read.
        """
        version = self.archive.version()
        if version is not None and version == self._version:
            return False
        self._version = version
        while True:
            entries = {entry.batch: entry for entry in self.archive.entries()}
            # After the manifest: what goes from there is named here before.
            dropped = load_dropped(self.archive).segments
            if entries.keys() == self._entries.keys() and dropped == self._dropped:
                return False
            from pythonaudit.archive.stored import read_segments

            fresh = (entry for name, entry in entries.items() if name not in self._tables)
            self.archive.fetch_all(part for entry in fresh for part in entry.of("segments"))
            tables = {
                name: self._tables[name] if name in self._tables else read_segments(self.archive, entry, _COLUMNS)
                for name, entry in entries.items()
            }
            gone = [name for name, table in tables.items() if table is None]
            if not gone or not self._have_gone(gone):
                break
        for name in gone:
            for part in entries[name].of("segments"):
                self.archive.note(self.archive.shown(part), "not there")
        self._entries, self._dropped = entries, dropped
        self.changes += 1
        self._tables = {name: table for name, table in tables.items() if table is not None}
        self._places = {}
        for name, table in self._tables.items():
            columns = (table[column].to_pylist() for column in _COLUMNS)
            for row, (process, sequence, uid, *said, losses) in enumerate(zip(*columns, strict=True)):
                drained, begin_ns, end_ns, pid, run, host, way, events = said
                self._places[process, sequence, uid] = _Place(
                    batch=name,
                    row=row,
                    drained=drained,
                    begin_realtime=begin_ns,
                    end_ns=end_ns,
                    process=bytes.fromhex(process),
                    id=process,
                    pid=pid,
                    run=run,
                    host=host,
                    way=way,
                    events=events,
                    has_losses=bool(losses),
                )
        counting = {place.batch for place in self._places.values()}
        self._doubled = {name for name, table in self._tables.items() if len(table) and name not in counting}
        return True

    def _have_gone(self, names: list[str]) -> bool:
        """Whether one of these batches does not count any more: it was put together with others."""
        return not {entry.batch for entry in self.archive.entries()}.issuperset(names)

    def entries(self) -> list[Entry]:
        """The batches in which what `has` says is there is there, as of the last `refresh`."""
        return [entry for name, entry in self._entries.items() if name not in self._doubled]

    def has(self, key: Key) -> bool:
        """Whether all events of a segment are in the archive, or were until retention removed them."""
        return key in self._places or key in self._dropped

    def there(self) -> KeysView[Key]:
        """The segments whose events are there."""
        return self._places.keys()

    def known(self) -> Iterator[tuple[Key, int]]:
        """Each segment, and how many of its process it says had been drained."""
        for key, place in self._places.items():
            yield key, place.drained
        for key in self._dropped - self._places.keys():
            yield key, 0

    def recorded(self, lossy: bool = False) -> Iterator[Recorded]:
        """What each segment says of its process, and what was counted or lost.

        Args:
            lossy: only those that lost something.
        """
        from pythonaudit.archive.stored import recorded_of

        while True:
            rows_of: dict[str, list[int]] = defaultdict(list)
            for place in self._places.values():
                if place.has_losses or not lossy:
                    rows_of[place.batch].append(place.row)
            try:
                rows = [row for batch, numbers in rows_of.items() for row in self._rows(batch, numbers)]
                break
            except FileNotFoundError:
                self.refresh()
        yield from map(recorded_of, rows)

    def sources(self, wanted: EventFilter) -> list[Source]:
        """The segments that can hold a wanted event."""
        return list(self.keyed_sources(wanted).values())

    def keyed_sources(self, wanted: EventFilter) -> dict[Key, Source]:
        """The same, by key."""
        found: dict[Key, Source] = {}
        batches: dict[str, Container[Key] | None] = {}
        for key, place in self._places.items():
            if not wanted.wants_segment(place, place.end_ns) or not wanted.wants_process(place):
                continue
            if wanted.leaves_out(place.way, place.events):
                continue
            if place.batch not in batches:
                batches[place.batch] = self._holding(place.batch, wanted)
            holding = batches[place.batch]
            if holding is None or key in holding:
                load = partial(self.load, key)
                begin_ns, end_ns = place.begin_realtime, place.end_ns
                found[key] = Source(begin_ns, place.process, key[1], end_ns, load, wanted.mask)
        return found

    def _holding(self, batch: str, wanted: EventFilter) -> Container[Key] | None:
        """Which segments of a batch hold events of the wanted names; None: that is not known."""
        if not wanted.names:
            return None
        from pythonaudit.archive.holding import find_segments

        try:
            return find_segments(self.archive, self._entries[batch], wanted.names)
        except OSError:  # it has been put together with others, or is damaged: whoever loads it will say so
            return None

    def load(self, key: Key) -> SegmentDecoder | None:
        """A segment, wherever it is by now; None: it is not, or no longer, here, or cannot be read (noted)."""
        if key not in self._places:
            self.refresh()
        while True:
            place = self._places.get(key)
            if place is None:
                return None
            try:
                return self._batch(place.batch).load(place.row)
            except FileNotFoundError:
                if self._have_gone([place.batch]):
                    self.refresh()
                else:
                    self._torn.add(place.batch)
                    self._batch.cache_clear()

    def _rows(self, batch: str, numbers: list[int]) -> list[Row]:
        """Rows of the table `segments` of a batch.

        Raises:
            FileNotFoundError: the batch has been put together with others.
        """
        rows = self._segments(batch).to_pylist()
        return [rows[number] for number in numbers]

    def _segments(self, batch: str) -> pa.Table:
        """The same as a table."""
        from pythonaudit.archive.stored import read_segments

        table = read_segments(self.archive, self._entries[batch])
        if table is None:
            raise FileNotFoundError(batch)
        return table

    def _open_batch(self, name: str) -> Batch:
        from pythonaudit.archive.stored import Batch

        return Batch(self.archive, self._entries[name], self._segments(name), name in self._torn)
