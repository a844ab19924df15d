"""Events of many segments in one order: by time, then process, slot, number.

Within a thread the order is exact, whatever its clock did: an event is placed no earlier than the one
before it in its thread. Between threads it is that of time, and times are good to a microsecond or so.

A segment is opened when the merge comes to its beginning and dropped after its last event, so that
about one segment a process is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pythonaudit.journal.decode import Event, SegmentDecoder
from pythonaudit.journal.segment import Column, Events

_NEVER = (1 << 63) - 1
_BLOCK = 256  # events decoded at a time where few are wanted


class Source(NamedTuple):
    """A segment that is not yet opened.

    Attributes:
        begin_ns: none of its events is (much) older.
        process: who wrote it; `sequence`: its place among that process's segments.
        end_ns: none of its events is younger; None: it may still grow.
        load: opens it; None if it has gone or cannot be read.
        wanted: which of its events: a mask over the rows, or None for all.
    """

    begin_ns: int
    process: bytes
    sequence: int
    end_ns: int | None
    load: Callable[[], SegmentDecoder | None]
    wanted: Callable[[SegmentDecoder], Column | None]


@dataclass(slots=True)
class _Stream:
    """An open segment: rows in order, and how far they have been given out."""

    decoder: SegmentDecoder
    process: bytes
    keys: Column
    rows: Column
    at: int = 0

    @property
    def head(self) -> int:
        return int(self.keys[self.at])


def merge_events(sources: Iterable[Source]) -> Iterator[Event]:
    """The events of segments, in order."""
    waiting = _by_begin(sources)
    waiting.reverse()
    floors: dict[bytes, dict[int, int]] = {}
    streams: list[_Stream] = []
    while waiting or streams:
        head = min((stream.head for stream in streams), default=_NEVER)
        while waiting and (not streams or waiting[-1].begin_ns <= head):
            stream = _open(waiting.pop(), floors)
            if stream is not None:
                streams.append(stream)
                head = min(head, stream.head)
        limit = waiting[-1].begin_ns if waiting else None
        yield from _give_out(streams, limit)
        streams = [stream for stream in streams if stream.at < len(stream.rows)]


def last_events(sources: Iterable[Source], count: int, wants: Callable[[Event], bool]) -> list[Event]:
    """The last events of segments by time, in order; segments that end too early are not opened.

    Args:
        sources: the segments.
        count: how many.
        wants: which of the events that the sources' masks let through.
    """
    found: list[_Placed] = []
    if count <= 0:
        return []
    for source in sorted(sources, key=lambda s: _NEVER if s.end_ns is None else s.end_ns, reverse=True):
        first = found[0].key if len(found) >= count else -1
        if source.end_ns is not None and source.end_ns < first:
            break
        stream = _open(source, {})
        if stream is None:
            continue
        begin = int(np.searchsorted(stream.keys, first))
        found += _last_of(stream, begin, count, wants)
        found = sorted(found, key=_Placed.place)[-count:]
    return [placed.event for placed in _threads_in_order(found)]


class _Placed(NamedTuple):
    key: int
    event: Event

    def place(self) -> tuple[int, str, int, int]:
        event = self.event
        return self.key, event.process.id, event.thread.slot, event.number


def _last_of(stream: _Stream, begin: int, count: int, wants: Callable[[Event], bool]) -> list[_Placed]:
    """The last wanted events of a segment, none of them before a position."""
    found: list[_Placed] = []
    end = len(stream.rows)
    while end > begin and len(found) < count:
        start = max(begin, end - max(count, _BLOCK))
        events = stream.decoder.events(stream.rows[start:end])
        block = map(_Placed, stream.keys[start:end].tolist(), events)
        found = [placed for placed in block if wants(placed.event)] + found
        end = start
    return found[-count:]


def _threads_in_order(found: list[_Placed]) -> list[_Placed]:
    """Sorted; no event before an earlier one of its thread in another segment."""
    floors: dict[tuple[str, int], int] = {}
    raised = []
    for key, event in sorted(found, key=lambda placed: placed.place()[1:]):
        thread = event.process.id, event.thread.slot
        floors[thread] = max(key, floors.get(thread, 0))
        raised.append(_Placed(floors[thread], event))
    return sorted(raised, key=_Placed.place)


def order_rows(events: Events, floors: dict[int, int]) -> tuple[Column, Column]:
    """Key and position of each event of a segment, sorted.

    Args:
        events: of one segment.
        floors: the last key of each thread (slot) in the segments before; brought up to date.
    """
    if not len(events):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    slot, number = events.slot, events.number
    in_thread = np.lexsort((number, slot))
    slot, time = slot[in_thread], events.time[in_thread]
    first = np.concatenate([[True], slot[1:] != slot[:-1]])
    group = np.cumsum(first) - 1
    if not np.all(first[1:] | (time[1:] >= time[:-1])):
        time = _running_maximum(time, group)
    slots = slot[first].tolist()
    floor = np.array([floors.get(s, 0) for s in slots], np.int64)
    keys = np.maximum(time, floor[group])
    last = np.concatenate([np.flatnonzero(first)[1:], [len(keys)]]) - 1
    floors.update(zip(slots, keys[last].tolist(), strict=True))
    # Rows are by slot and number already, and a stable sort keeps them so within a key.
    order = np.argsort(keys, kind="stable")
    return keys[order], in_thread[order]


def _running_maximum(time: Column, group: Column) -> Column:
    """The greatest time so far within each group; groups stand one after the other."""
    ordered = np.sort(time)
    rank = np.searchsorted(ordered, time)
    highest = np.maximum.accumulate(group * len(time) + rank)
    found: Column = ordered[highest - group * len(time)]
    return found


def _by_begin(sources: Iterable[Source]) -> list[Source]:
    """Sorted by begin, those of a process by sequence even where its clock was set back."""
    latest: dict[bytes, int] = {}
    found = []
    for source in sorted(sources, key=lambda s: (s.process, s.sequence, s.begin_ns)):
        begin = max(source.begin_ns, latest.get(source.process, 0))
        latest[source.process] = begin
        found.append(source._replace(begin_ns=begin))
    found.sort(key=lambda s: s.begin_ns)
    return found


def _open(source: Source, floors: dict[bytes, dict[int, int]]) -> _Stream | None:
    decoder = source.load()
    if decoder is None:
        return None
    keys, rows = order_rows(decoder.segment.events, floors.setdefault(source.process, {}))
    wanted = source.wanted(decoder)
    if wanted is not None:
        kept = wanted[rows]
        keys, rows = keys[kept], rows[kept]
    return _Stream(decoder, source.process, keys, rows) if len(rows) else None


def _give_out(streams: list[_Stream], limit: int | None) -> Iterator[Event]:
    """All events before a key."""
    parts: list[tuple[_Stream, Column, Column]] = []
    for stream in streams:
        end = len(stream.rows) if limit is None else int(np.searchsorted(stream.keys, limit))
        if end > stream.at:
            taken = slice(stream.at, end)
            parts.append((stream, stream.keys[taken], stream.rows[taken]))
            stream.at = end
    if len(parts) == 1:
        stream, _, rows = parts[0]
        yield from stream.decoder.events(rows)
    elif parts:
        iterators = [stream.decoder.events(rows) for stream, _, rows in parts]
        for which in _interleave(parts).tolist():
            yield next(iterators[which])


def _interleave(parts: list[tuple[_Stream, Column, Column]]) -> Column:
    """Which part the next event comes from, for each event of all of them."""
    processes = sorted({stream.process for stream, _, _ in parts})
    rank = [processes.index(stream.process) for stream, _, _ in parts]
    lengths = [len(rows) for _, _, rows in parts]
    events = [stream.decoder.segment.events for stream, _, _ in parts]
    order = np.lexsort(
        (
            np.concatenate([e.number[rows] for e, (_, _, rows) in zip(events, parts, strict=True)]),
            np.concatenate([e.slot[rows] for e, (_, _, rows) in zip(events, parts, strict=True)]),
            np.repeat(rank, lengths),
            np.concatenate([keys for _, keys, _ in parts]),
        )
    )
    found: Column = np.repeat(np.arange(len(parts)), lengths)[order]
    return found
