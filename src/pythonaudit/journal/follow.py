"""New events of running processes, by looking again and again.

What a recorder writes wakes nobody up, so every segment that can grow is looked at five times a second:
a few bytes where its next entries and chunks will appear. Only chunks that have grown are read again.

A segment is watched from its first appearance until it is closed, or its process is dead, and nothing
new has come since. A box is listed again when its directory has changed. What has moved to the archive
before it was read to its end, or was seen at all, is read there.

Threads and segments are read one after the other, and are written all the while. So what is younger than
a look's begin is kept until the next look: what is given out by then is all that had happened before it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pythonaudit.errors import FormatError, StoreError
from pythonaudit.journal import files, layout
from pythonaudit.journal.chunks import Chunk, Damage, Header, is_same_segment, parse_header, walk_chunks
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.process import build_process
from pythonaudit.journal.segment import Column, Events, Segment, committed, count_committed, parse_segment

if TYPE_CHECKING:
    from pythonaudit.journal.reader import Journal, Key, SegmentHead

POLL_SECONDS = 0.2

# A directory's time of change is this coarse at worst: within it, a change need not show.
_COARSE_NS = 2_000_000_000


class Follower:
    """Watches the segments of a journal.

    Attributes:
        watched: the segments that can grow, by path.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._boxes: dict[Path, files.Box] = {}
        self._known: set[Path] = set()
        self._waiting: dict[Path, files.SegmentFile] = {}  # not begun yet
        self._seen: set[Key] = set()
        self.watched: dict[Path, _Watched] = {}

    def begin(self) -> tuple[list[SegmentHead], list[SegmentDecoder]]:
        """Notes all that is there, and where it ends; what comes later is new.

        Returns:
            The segments in which nothing more can come, and what is in the others by now.
        """
        heads, decoders = [], []
        now_ns = time.time_ns()
        new = self._new_heads()
        self._archived()
        for head in new:
            watched = _Watched(self._journal, head)
            if watched.is_dead or (head.end_ns is not None and head.end_ns <= now_ns):
                heads.append(head)
                continue
            self.watched[head.file.path] = watched
            decoders += watched.read(now_ns)
        return heads, decoders

    def poll_until(self, stop: threading.Event) -> Iterator[list[SegmentDecoder]]:
        """Looks for new events again and again; gives segments with nothing but new events in them."""
        while not stop.is_set():
            yield self.poll()
            stop.wait(POLL_SECONDS)

    def poll(self) -> list[SegmentDecoder]:
        """Looks once."""
        now_ns = time.time_ns()
        found: list[SegmentDecoder] = []
        try:
            for head in self._new_heads():
                self.watched[head.file.path] = _Watched(self._journal, head)
            found += self._archived()
        except StoreError:
            pass  # the directory was removed, or moved away; it may come again
        for path, watched in list(self.watched.items()):
            decoders = watched.read(now_ns)
            found += decoders
            if not decoders and watched.is_over:
                del self.watched[path]
        return found

    def _new_heads(self) -> list[SegmentHead]:
        for box in self._journal.boxes():
            before = self._boxes.get(box.path)
            recent = time.time_ns() - box.changed_ns < _COARSE_NS
            if before is None or before.changed_ns != box.changed_ns or recent:
                self._boxes[box.path] = box
                present = {file.path: file for file in files.list_box(box)}
                gone = [p for p in self._known if p.parent == box.path and p not in present]
                self._known.difference_update(gone)
                new = {p: file for p, file in present.items() if p not in self._known}
                others = {p: f for p, f in self._waiting.items() if p.parent != box.path}
                self._waiting = others | new
        heads = []
        for path, file in list(self._waiting.items()):
            head = self._journal.read_head(file)
            if head is not None:
                heads.append(head)
                self._known.add(path)
                del self._waiting[path]
        heads = self._journal.unarchived(heads)
        self._seen.update(head.key for head in heads)
        return heads

    def _archived(self) -> Iterator[SegmentDecoder]:
        """What is in the archive and has been seen neither there nor in the journal. It has by now."""
        archived = self._journal.archived
        new = [key for key, _ in archived.known() if key not in self._seen] if archived else []
        self._seen.update(new)
        loaded = (archived.load(key) for key in new if archived)
        return (decoder for decoder in loaded if decoder is not None)


class _Watched:
    """A segment that can grow, and how far it has been read.

    Attributes:
        is_over: nothing new will come.
        is_gone: its file has been used again.
    """

    def __init__(self, journal: Journal, head: SegmentHead) -> None:
        self._journal = journal
        self._file = head.file
        self._header = head.header
        self._key = head.key
        self._process = build_process(head.header, (), head.file.uid)
        self._image = bytearray(layout.SEGMENT_MAX)  # zero pages cost nothing until they are filled
        self._chunks: list[tuple[Chunk, int]] = []  # and how many entries of each have been read
        self._positions: dict[int, int] = {}
        self._attributes: list[bytes] = []
        self._kept: list[SegmentDecoder] = []
        self._last_looks = 0
        self._next: dict[int, int] = {}  # number of the next event of each thread, by slot
        self.is_over = self.is_gone = False

    @property
    def is_dead(self) -> bool:
        """Whether its process is known to have ended."""
        return self._process.is_running is False

    def read(self, until_ns: int) -> list[SegmentDecoder]:
        """The segment with nothing but its new events, in one part or two.

        Args:
            until_ns: what is younger, nanoseconds since 1970, comes with the next call.
        """
        found, self._kept = self._kept, []
        if self.is_over:
            return found
        try:
            with files.open_segment(self._file) as descriptor:
                segment = self._read(descriptor)
        except FileNotFoundError:
            self.is_over = True
            return found + self._moved()
        except (FormatError, files.RefusedError) as error:
            self._journal.note(self._file.path, [Damage(None, 0, 0, str(error))])
            self.is_over = True
            return found
        if segment is None and self.is_gone:
            return found + self._moved()
        if segment is None or not len(segment.events):
            return found
        for slot in np.unique(segment.events.slot).tolist():
            self._next[slot] = int(segment.events.number[segment.events.slot == slot].max()) + 1
        young = _is_young(segment.events, until_ns)
        if young.any():
            # Of its own: by the next call, the file may be used again and the image hold other bytes.
            data = bytes(memoryview(self._image)[: segment.header.used])
            later = replace(segment, data=data, events=segment.events.take(young))
            self._kept.append(self._journal.decoder(self._file, later))
            segment.events = segment.events.take(~young)
        if len(segment.events):
            found.append(self._journal.decoder(self._file, segment))
        return found

    def _moved(self) -> list[SegmentDecoder]:
        """What the archive has of the segment, and has not been read here."""
        archived = self._journal.archived
        decoder = archived.load(self._key) if archived else None
        if decoder is None:
            return []
        events = decoder.segment.events
        first = np.array([self._next.get(slot, 0) for slot in events.slot.tolist()], np.uint64)
        decoder.segment.events = events.take(events.number >= first)
        return [decoder]

    def _read(self, descriptor: int) -> Segment | None:
        """The segment with what has come since it was read; None if nothing has."""
        self._copy(descriptor, [(0, layout.HEADER_SIZE)])
        if not is_same_segment(self._header, self._image):
            self.is_over = self.is_gone = True  # its file is a later segment by now
            return None
        header = parse_header(self._image)
        ranges = self._grown(descriptor, header)
        if not ranges:
            # What was being written while it was closed, or its process killed, shows in one more look.
            ended = header.state != layout.STATE_OPEN or self.is_dead
            self._last_looks = self._last_looks + 1 if ended else 0
            self.is_over = self._last_looks > 1
            return None
        self._copy(descriptor, ranges)
        limits = count_committed(self._image)
        self._copy(descriptor, ranges)
        if not files.still_holds(descriptor, self._header):
            self.is_over = self.is_gone = True
            return None
        segment = parse_segment(self._image, limits, self._positions)
        self._positions = segment.positions
        self._attributes += segment.attributes
        segment.attributes = list(self._attributes)
        self._chunks = []
        for chunk in walk_chunks(self._image, header)[0]:
            if chunk.kind == layout.CHUNK_EVENTS:
                self._chunks.append((chunk, segment.positions.get(chunk.offset, 0)))
            elif chunk.kind in layout.ENTRY_SIZES:
                self._chunks.append((chunk, len(committed(self._image, chunk))))
        return segment

    def _grown(self, descriptor: int, header: Header) -> list[tuple[int, int]]:
        """Where there is something new: chunks with another entry, and what is no chunk yet."""
        ranges = []
        place = header.header_size
        for chunk, count in self._chunks:
            if chunk.offset > place:
                ranges.append((place, chunk.offset))
            if count < chunk.capacity:
                commit = chunk.end - (count + 1) * chunk.entry_size
                if os.pread(descriptor, 4, commit) == chunk.generation.to_bytes(4, "little"):
                    ranges.append((chunk.offset, chunk.end))
            place = chunk.end
        used = min(header.used, len(self._image))
        return [*ranges, (place, used)] if used > place else ranges

    def _copy(self, descriptor: int, ranges: list[tuple[int, int]]) -> None:
        for start, end in ranges:
            os.preadv(descriptor, [memoryview(self._image)[start:end]], start)


def _is_young(events: Events, until_ns: int) -> Column:
    """Which events are younger than an instant, or come after such a one in their thread."""
    young: Column = events.time > until_ns
    for slot in np.unique(events.slot[young]):
        mine = events.slot == slot
        young |= mine & np.logical_or.accumulate(young & mine)
    return young
