"""What comes next for a target: the events that it has not acknowledged, of archive and journal, in batches.

    feed = Feed(journal, archived, wanted, cursor)
    for batch in feed.backlog(2000): ...       # all that is there, in order
    for batch in feed.news(2000): ...          # what has come since; again and again

Within a process the order is exact, and events come oldest first. There is no queue: what a target does not take stays
where it is, in the archive or the journal, and is read when its turn comes. So what waits takes no memory, and nobody
waits for a target.

A batch has been dealt with when its events and the segments that end with it were acknowledged (`cursor`); only then the
next one is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from pythonaudit.archive.reader import ArchivedSegments
from pythonaudit.export.cursor import Cursor
from pythonaudit.journal.chunks import Header
from pythonaudit.journal.decode import Event, SegmentDecoder
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.follow import Follower
from pythonaudit.journal.merge import Source, merge_events
from pythonaudit.journal.reader import Journal, Key
from pythonaudit.journal.segment import Column


@dataclass(slots=True)
class Batch:
    """Events in order, and the segments of which nothing comes after them."""

    events: list[Event] = field(default_factory=list)
    finished: list[Key] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.events or self.finished)


class Feed:
    """What comes next.

    Args:
        journal: with `archived`.
        archived: the archive beside it.
        wanted: which events.
        cursor: what has been acknowledged.

    Attributes:
        is_behind: the last look left something for the next.
    """

    def __init__(self, journal: Journal, archived: ArchivedSegments, wanted: EventFilter, cursor: Cursor) -> None:
        self._journal = journal
        self._archived = archived
        self._wanted = wanted
        self._cursor = cursor
        self._left: dict[int, tuple[Key, int]] = {}  # by decoder: how many of its events are still to come
        self._through: list[Key] = []
        self._follower = Follower(journal, skip=cursor.has)
        self._follower.over = []
        self._changes = -1  # of the archive, when it was looked at
        self._waiting: set[Key] = set()  # segments in it that are not through
        self.is_behind = False

    def backlog(self, most: int) -> Iterator[Batch]:
        """All that is there by now.

        Args:
            most: events of a batch.

        Raises:
            StoreError: there is no journal here, or it may not be read.
        """
        heads = self._journal.heads()
        present = {head.key for head in heads}
        known = {key for key, _ in self._archived.known()}
        self._cursor.retain(lambda key: key in present or key in known)
        self._look_at_archive()
        sources = [
            source._replace(wanted=partial(self._find_wanted, key, True))
            for key, source in self._archived.keyed_sources(self._wanted).items()
            if not self._cursor.has(key)
        ]
        for head in heads:
            if self._cursor.has(head.key) or not self._wanted.wants_segment(head.header, head.end_ns):
                continue
            # What was being written while it was closed may show in one more look: that is for `news`.
            load = partial(self._journal.load, head)
            sources.append(self._source(head.key, head.header, head.end_ns, load, is_whole=False))
        yield from self._batches(sources, most)

    def news(self, most: int) -> Iterator[Batch]:
        """What has come since, by one look.

        Args:
            most: events of a batch.
        """
        decoders = self._follower.poll()
        self.is_behind = self._follower.is_behind
        self._look_at_archive()
        sources = []
        for decoder in decoders:
            header = decoder.segment.header
            key = decoder.process.id, header.sequence, decoder.process.uid
            # Of what has come from the archive nothing can follow.
            is_whole = bool(decoder.batch)
            sources.append(self._source(key, header, None, partial(_given, decoder), is_whole))
        yield from self._batches(sources, most)
        over, self._follower.over = self._follower.over or [], []
        for one in over:
            if one.is_gone and not self._archived.has(one.head.key):
                self._cursor.counts["gone"] += 1
        if over:
            yield Batch(finished=[one.head.key for one in over])

    def close(self) -> None:
        """Closes what is open."""
        self._follower.close()

    def _source(
        self,
        key: Key,
        header: Header,
        end_ns: int | None,
        load: Callable[[], SegmentDecoder | None],
        is_whole: bool,
    ) -> Source:
        begin_ns = min(header.begin_realtime, (1 << 63) - 1)
        wanted = partial(self._find_wanted, key, is_whole)
        return Source(begin_ns, header.process, header.sequence, end_ns, load, wanted)

    def _find_wanted(self, key: Key, is_whole: bool, decoder: SegmentDecoder) -> Column | None:
        """Which events of a segment are wanted, and were not acknowledged; None: all.

        Args:
            is_whole: nothing can come in it any more.
        """
        mask = self._wanted.mask(decoder)
        unsent = self._cursor.unsent(key, decoder.segment.events)
        if unsent is not None:
            mask = unsent if mask is None else mask & unsent
        if is_whole:
            count = len(decoder.segment.events) if mask is None else int(mask.sum())
            if count:
                self._left[id(decoder)] = key, count
            else:
                self._through.append(key)
        return mask

    def _batches(self, sources: Iterable[Source], most: int) -> Iterator[Batch]:
        batch = Batch()
        wants = None if self._wanted.is_settled_by_mask else self._wanted.wants
        for event in merge_events(sources):
            left = self._left.get(id(event.decoder))
            if wants is None or wants(event):
                batch.events.append(event)
            if left is not None:
                key, count = left
                if count == 1:
                    del self._left[id(event.decoder)]
                    self._through.append(key)
                else:
                    self._left[id(event.decoder)] = key, count - 1
            if len(batch.events) >= most:
                batch.finished, self._through = self._through, []
                yield batch
                batch = Batch()
        batch.finished, self._through = self._through, []
        if batch:
            yield batch

    def _look_at_archive(self) -> None:
        """Notes what has come into the archive, and counts what retention has removed before it was sent."""
        if self._archived.changes == self._changes:
            return
        self._changes = self._archived.changes
        there = self._archived.there()
        gone = [key for key in self._waiting - there if not self._cursor.has(key)]
        if gone:
            self._cursor.counts["gone"] += len(gone)
            self._cursor.acknowledge((), gone)
        self._waiting = {key for key in there if not self._cursor.has(key)}
        self._cursor.expect(self._waiting)


def _given(decoder: SegmentDecoder) -> SegmentDecoder:
    return decoder
