"""The journal of one directory: everything recorded there, to the last committed event.

    journal = Journal("/var/log/pythonaudit")
    for event in journal.events(EventFilter(names=("open",), since_ns=...)): ...
    for event in journal.follow(stop=threading.Event()): ...     # new ones, within a second

What cannot be read is left out and kept in `damage()`; the rest comes out all the same.
"""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pythonaudit.errors import FormatError
from pythonaudit.journal import files, layout
from pythonaudit.journal.chunks import Damage, Header, is_unbegun, parse_header
from pythonaudit.journal.decode import Event, SegmentDecoder
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.follow import Follower
from pythonaudit.journal.merge import Source, last_events, merge_events
from pythonaudit.journal.process import Process, build_process
from pythonaudit.journal.segment import Segment, count_committed, parse_segment
from pythonaudit.journal.survey import (
    Counted,
    Loss,
    Recorded,
    Survey,
    Trail,
    add_to_trail,
    losses_by,
    losses_of,
    parse_name,
    recorded_of,
)

if TYPE_CHECKING:
    import pyarrow as pa

_EVERYTHING = EventFilter()
# Header and first chunk, which holds the attributes of the process.
_ATTRIBUTES_BYTES = layout.HEADER_SIZE + (48 << 10)


Key = tuple[str, int, int]  # process, sequence, uid


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """A segment whose header has been read, and no more."""

    file: files.SegmentFile
    header: Header

    @property
    def key(self) -> Key:
        """What names it: process, sequence, and whose it is, since others can write the first two as well."""
        return self.header.process.hex(), self.header.sequence, self.file.uid

    @property
    def end_ns(self) -> int | None:
        """None of its events is younger; None: it may still grow."""
        return self.header.end_realtime if self.header.state != layout.STATE_OPEN else None


class Archived(Protocol):
    """Segments that are not in the journal any more, but elsewhere.

    Attributes:
        changes: how often there were others than before.
    """

    changes: int

    @property
    def exists(self) -> bool:
        """Whether there is such a place."""

    def problems(self) -> list[str]:
        """What could not be read of it, a line each."""

    def refresh(self) -> bool:
        """Looks which there are now; whether anything has changed."""

    def has(self, key: Key) -> bool:
        """Whether all events of a segment are there: in the journal it does not count."""

    def known(self) -> Iterator[tuple[Key, int]]:
        """Each, and how many of its process it says had been drained."""

    def recorded(self, lossy: bool = False) -> Iterator[Recorded]:
        """What each segment says; or only those that lost something."""

    def sources(self, wanted: EventFilter) -> list[Source]:
        """Those that can hold a wanted event."""

    def load(self, key: Key) -> SegmentDecoder | None:
        """One of them, looked for anew; None: it is not there, or cannot be read."""


class Journal:
    """Reads the journal of a directory.

    Args:
        directory: that of `PYTHONAUDIT_DIR`.
        more: further ones to be read along, where they exist (`files.runtime_directories`).
        archived: segments to be read along that are in the journal no more.
    """

    def __init__(self, directory: Path | str, more: Iterable[Path] = (), archived: Archived | None = None) -> None:
        self.directory = Path(directory)
        self.name = str(directory)  # for people
        self._more = tuple(more)
        self.archived = archived
        self._damage: dict[Damage, None] = {}
        self._copies: list[bytearray] = []

    def events(self, wanted: EventFilter | None = None) -> Iterator[Event]:
        """The events, oldest first (order: see `merge`).

        Raises:
            StoreError: there is no journal here, or it may not be read.
        """
        wanted = wanted or _EVERYTHING
        return _wanted_events(merge_events(self._sources(self.heads(), wanted)), wanted)

    def tail(self, count: int, wanted: EventFilter | None = None) -> list[Event]:
        """The last events, oldest first. Segments that cannot hold one of them are not opened.

        Raises:
            StoreError: there is no journal here, or it may not be read.
        """
        wanted = wanted or _EVERYTHING
        return last_events(self._sources(self.heads(), wanted), count, wanted.wants)

    def follow(
        self,
        wanted: EventFilter | None = None,
        stop: threading.Event | None = None,
        last: int | None = 0,
    ) -> Iterator[Event]:
        """The last events, then new ones of running processes as they come, within a second.

        New is what is recorded after this call. It ends when no wanted event can come any more.

        Args:
            wanted: which events.
            stop: ends the iteration when it is set.
            last: how many of those that are there already; None: all of them.

        Raises:
            StoreError: there is no journal here, or it may not be read.
        """
        wanted = wanted or _EVERYTHING
        stop = stop or threading.Event()
        follower = Follower(self)
        # Now, not when the first event is asked for: what comes after this call is new.
        heads, decoders = follower.begin()
        known = self._sources(heads, wanted) + [_loaded(decoder, wanted) for decoder in decoders]
        everything = _wanted_events(merge_events(known), wanted)
        before = everything if last is None else last_events(known, last, wanted.wants)
        return itertools.chain(before, _new_events(follower, wanted, stop))

    def survey(self) -> Survey:
        """Processes, counts and losses, in one reading of everything.

        Raises:
            StoreError: there is no journal here, or it may not be read.
        """
        trails: dict[str, Trail] = {}
        counts: dict[tuple[str, str, str], int] = defaultdict(int)
        heads = self.heads()
        for recorded in self.archived.recorded() if self.archived else ():
            add_to_trail(trails, counts, recorded)
        for head in heads:
            decoder = self.load(head)
            if decoder is None:
                continue
            add_to_trail(trails, counts, recorded_of(decoder))
        counted = [
            Counted(trails[process].process, event, source, count)
            for (process, event, source), count in counts.items()
        ]
        for process, missing in self.missing(heads).items():
            if process in trails:
                trails[process].losses[layout.LOSS_MISSING] = missing
        found = sorted(trails.values(), key=lambda trail: trail.begin_ns)
        return Survey(found, counted, [*losses_of(found), *losses_by(self._damage)])

    def processes(self) -> list[Trail]:
        """What each process left, oldest first."""
        return self.survey().trails

    def counts(self) -> list[Counted]:
        """What was counted instead of recorded, by process, name and source."""
        return self.survey().counts

    def losses(self) -> list[Loss]:
        """What was not recorded or cannot be read, by process and reason."""
        return self.survey().losses

    def damage(self) -> list[Damage]:
        """What could not be read, in whatever has been read by now; after `survey`: in everything."""
        return list(self._damage)

    def missing(self, heads: Iterable[SegmentHead]) -> dict[str, int]:
        """How many segments of a process, by its id, have gone, although later ones are there.

        Those that had been read out before, as a later one says, are not missing.

        Args:
            heads: all segments.
        """
        present: dict[str, set[int]] = defaultdict(set)
        drained: dict[str, int] = defaultdict(int)
        of_heads = ((head.key, head.header.drained) for head in heads)
        archived = self.archived.known() if self.archived else ()
        for (process, sequence, _), said in itertools.chain(of_heads, archived):
            present[process].add(sequence)
            drained[process] = max(drained[process], min(said, sequence))
        for one in self._damage:  # what cannot be read has not gone
            named, number = parse_name(one.path)
            if named in present and number is not None:
                present[named].add(number)
        missing = {}
        for process, found in present.items():
            first = drained[process]
            gone = max(found) + 1 - first - sum(sequence >= first for sequence in found)
            if gone:
                missing[process] = gone
        return missing

    def to_arrow(self, wanted: EventFilter | None = None) -> pa.Table:
        """The events as an Arrow table (columns: see `arrow`), unordered."""
        from pythonaudit.journal.arrow import to_arrow

        wanted = wanted or _EVERYTHING
        decoders = (source.load() for source in self._sources(self.heads(), wanted))
        return to_arrow((decoder, wanted.exact_mask(decoder)) for decoder in decoders if decoder)

    def heads(self) -> list[SegmentHead]:
        """All segments of the journal that are there now.

        Raises:
            StoreError: there is no journal here, or it may not be read.
        """
        found = [head for head in map(self.read_head, files.list_segments(self.boxes())) if head]
        return self.unarchived(found)

    def unarchived(self, heads: list[SegmentHead]) -> list[SegmentHead]:
        """Those that are not in the archive, which is looked at now: after the journal was listed. What has moved
        in between is in both, and does not count here; the other way round, it would be in neither.
        """
        archived = self.archived
        if archived is None:
            return heads
        archived.refresh()
        return [head for head in heads if not archived.has(head.key)]

    def boxes(self) -> list[files.Box]:
        """The boxes that are there now.

        Raises:
            StoreError: there is no journal here, or it may not be read.
        """
        boxes: list[files.Box] = []
        if not (self.archived and self.archived.exists) or (self.directory / "journal").exists():
            boxes, refused = files.find_boxes(self.directory)
            self.note(None, refused)
        for directory in self._more:
            if (directory / "journal").is_dir():
                others, refused = files.find_boxes(directory)
                self.note(None, refused)
                boxes += others
        return boxes

    def places(self) -> list[Path]:
        """The directories in which boxes are, whether they are there or not."""
        return [directory / "journal" for directory in (self.directory, *self._more)]

    def read_head(self, file: files.SegmentFile) -> SegmentHead | None:
        """Reads a header; None if the segment has gone, is not begun or makes no sense (noted)."""
        try:
            with files.open_segment(file) as descriptor:
                data = files.read_segment(descriptor, layout.HEADER_SIZE + layout.CHUNK_HEADER_SIZE)
            return None if is_unbegun(data) else SegmentHead(file, parse_header(data))
        except FileNotFoundError:
            return None
        except (FormatError, files.RefusedError) as error:
            self.note(file.path, [Damage(None, 0, 0, str(error))])
            return None

    def load(self, head: SegmentHead) -> SegmentDecoder | None:
        """Reads a segment, here or where it has moved to; None if it has gone or makes no sense (noted)."""
        path = head.file.path
        try:
            with files.open_segment(head.file) as descriptor:
                limits = self._count_committed(descriptor)
                data = files.read_segment(descriptor)
                if files.is_too_long(descriptor):
                    reason = "the file is longer than a segment can be"
                    self.note(path, [Damage(None, layout.SEGMENT_MAX, 0, reason)])
                if not files.still_holds(descriptor, head.header):
                    return self._moved(head)  # the process has used it again
            segment = parse_segment(data, limits)
        except FileNotFoundError:
            return self._moved(head)
        except (FormatError, files.RefusedError) as error:
            self.note(path, [Damage(None, 0, 0, str(error))])
            return None
        return self.decoder(head.file, segment)

    def _moved(self, head: SegmentHead) -> SegmentDecoder | None:
        """A segment that was in the journal a moment ago, from the archive; None if it was lost, not moved."""
        return self.archived.load(head.key) if self.archived else None

    def process(self, head: SegmentHead) -> Process | None:
        """The process of a segment, from its first bytes; None if it has gone or makes no sense any more."""
        try:
            with files.open_segment(head.file) as descriptor:
                data = files.read_segment(descriptor, _ATTRIBUTES_BYTES)
                if files.still_holds(descriptor, head.header):
                    return build_process(head.header, parse_segment(data).attributes, head.file.uid)
        except FileNotFoundError:
            pass
        except (FormatError, files.RefusedError):
            return None
        moved = self._moved(head)
        return moved.process if moved else None

    def _count_committed(self, descriptor: int) -> dict[int, int]:
        """The same of an earlier copy, which is soon forgotten: its memory is used again and again."""
        try:
            copy = self._copies.pop()
        except IndexError:
            copy = bytearray(layout.SEGMENT_MAX)
        try:
            with memoryview(copy) as whole, whole[: files.read_segment_into(descriptor, whole)] as data:
                return count_committed(data)
        finally:
            self._copies.append(copy)

    def decoder(self, file: files.SegmentFile, segment: Segment) -> SegmentDecoder:
        """Makes events of a segment; its damage is noted, now and later."""
        self.note(file.path, segment.damage)
        return SegmentDecoder(segment, file.uid, lambda damage: self.note(file.path, [damage]))

    def note(self, path: Path | None, damage: Sequence[Damage]) -> None:
        """Keeps damage for `damage()`."""
        for one in damage:
            self._damage[one._replace(path=one.path or path)] = None

    def _sources(self, heads: Sequence[SegmentHead], wanted: EventFilter) -> list[Source]:
        """The segments that can hold a wanted event."""
        archived = self.archived.sources(wanted) if self.archived else []
        return archived + [
            _source(head.header, head.end_ns, functools.partial(self.load, head), wanted)
            for head in heads
            if wanted.wants_segment(head.header, head.end_ns)
        ]


def _loaded(decoder: SegmentDecoder, wanted: EventFilter) -> Source:
    return _source(decoder.segment.header, None, lambda: decoder, wanted)


def _source(
    header: Header,
    end_ns: int | None,
    load: Callable[[], SegmentDecoder | None],
    wanted: EventFilter,
) -> Source:
    begin_ns = min(header.begin_realtime, (1 << 63) - 1)
    return Source(begin_ns, header.process, header.sequence, end_ns, load, wanted.mask)


def _new_events(follower: Follower, wanted: EventFilter, stop: threading.Event) -> Iterator[Event]:
    over = False
    for decoders in follower.poll_until(stop):
        sources = [_loaded(decoder, wanted) for decoder in decoders]
        yield from _wanted_events(merge_events(sources), wanted)
        if over:
            return
        # What comes from now on is too late; what has come in the meantime shows in one more look.
        over = wanted.until_ns is not None and time.time_ns() >= wanted.until_ns


def _wanted_events(events: Iterator[Event], wanted: EventFilter) -> Iterator[Event]:
    return events if wanted.is_settled_by_mask else filter(wanted.wants, events)
