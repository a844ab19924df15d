"""One segment that can grow, and how far it has been read.

Most segments are quiet most of the time. So a look begins with what is cheap: whether the header is what it was,
and whether the next entry of a thread's chunk has been committed, a few bytes each (`has_news`). Only when something
has come is it copied (`read`).

Events are copied before the definitions that they refer to, and those before the events once more: what is committed
in the first copy is whole in the last, with all that it needs (docs/format/journal.md, 11).

The copy is kept, so that only chunks that have grown are read again; whoever watches many segments can have it
dropped, and it is read anew where something comes.
"""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pythonaudit.errors import FormatError
from pythonaudit.journal import files, layout
from pythonaudit.journal.chunks import Chunk, Damage, Header, is_same_segment, parse_header, walk_chunks
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.process import build_process
from pythonaudit.journal.segment import Column, Events, Segment, committed, count_committed, parse_segment
from pythonaudit.journal.summary import LOSS_NAMES

if TYPE_CHECKING:
    from pythonaudit.journal.reader import Journal, SegmentHead

_LOSSES = struct.Struct(f"<{layout.LOSS_SLOTS}Q")
_HEAD_BYTES = layout.HEADER.fields["losses"][0] + _LOSSES.size  # of the header: all that is in use
_USED, _ = layout.HEADER.fields["used"]
_WORD = 4
_SMALLEST = 128 << 10
_LIVENESS_SECONDS = 10.0
_CHUNK_MAGIC = layout.CHUNK_MAGIC.to_bytes(_WORD, "little")

Range = tuple[int, int]


class Watched:
    """A segment that can grow.

    Attributes:
        head: its header, as it was when it was first seen.
        is_over: nothing new will come.
        is_gone: its file has been removed, or used again.
        is_left: whoever watched it does so no more.
        read_bytes: how much was read in the last look.
        news_at: when something had come, and looked_at when it was looked at (`time.monotonic`).
    """

    def __init__(self, journal: Journal, head: SegmentHead) -> None:
        self.head = head
        self._journal = journal
        self._process = build_process(head.header, (), head.file.uid)
        self._descriptor = -1
        self._start = b""  # of the file, as it was last read
        self._state = layout.STATE_OPEN
        self._image: bytearray | None = None
        self._chunks: list[tuple[Chunk, int]] = []  # and how many entries of each have been read
        self._awaited: list[tuple[int, bytes]] = []  # where the next will show, and by what
        self._positions: dict[int, int] = {}
        self._attributes: list[bytes] = []
        self._kept: list[SegmentDecoder] = []
        self._last_looks = 0
        self._next: dict[int, int] = {}  # number of the next event of each thread, by slot
        self._liveness_at = 0.0
        self._is_dead = False
        self.is_over = self.is_gone = self.is_left = False
        self.read_bytes = 0
        self.news_at = self.looked_at = 0.0

    @property
    def is_dead(self) -> bool:
        """Whether its process is known to have ended."""
        return self._process.is_running is False

    @property
    def is_closed(self) -> bool:
        """Whether nothing more can come in it, as far as can be told now (`archive.ingest.is_closed`)."""
        return self._state == layout.STATE_ROTATED or self.is_dead or self._process.is_running is None

    @property
    def losses(self) -> dict[str, int]:
        """What its header counts as lost, as it was last read."""
        said = self._start[-_LOSSES.size :]
        if not said.strip(b"\0") or len(said) < _LOSSES.size:
            return {}
        return {name: count for name, count in zip(LOSS_NAMES, _LOSSES.unpack(said), strict=True) if count}

    @property
    def used(self) -> int:
        """How much of the file is in use, as it was last read."""
        return int.from_bytes(self._start[_USED : _USED + _WORD], "little")

    @property
    def is_open(self) -> bool:
        """Whether a descriptor is kept."""
        return self._descriptor >= 0

    @property
    def chunks(self) -> int:
        """How many chunks it has."""
        return len(self._chunks)

    @property
    def image_bytes(self) -> int:
        """How much memory its copy takes."""
        return len(self._image) if self._image is not None else 0

    def close(self) -> None:
        """Closes what is open; the next look opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def drop_image(self) -> None:
        """Forgets the copy."""
        self._image = None
        self._attributes = []

    def begin_again(self) -> None:
        """Forgets what has been read: the next look gives all of it."""
        self.drop_image()
        self._start = b""
        self._positions, self._chunks, self._awaited = {}, [], []
        self._last_looks = 0

    def was_removed(self) -> bool:
        """Whether its file has no name any more. Without a descriptor, the next look finds out."""
        return self._descriptor >= 0 and not os.fstat(self._descriptor).st_nlink

    def has_news(self) -> bool:
        """Whether `read` has something to do."""
        if self._descriptor < 0 or self._kept or self._state != layout.STATE_OPEN or self._is_dead:
            return True
        if self.looked_at - self._liveness_at > _LIVENESS_SECONDS:
            self._liveness_at = self.looked_at
            self._is_dead = self.is_dead
            if self._is_dead:
                return True
        try:
            return self._has_grown(self._descriptor)
        except OSError:
            return True

    def read(self, until_ns: int | None) -> list[SegmentDecoder]:
        """The segment with nothing but its new events, in one part or two.

        Args:
            until_ns: what is younger, nanoseconds since 1970, comes with the next call; None: nothing waits.
        """
        self.read_bytes = 0
        found, self._kept = self._kept, []
        if self.is_over:
            return found
        try:
            if self._descriptor < 0:
                self._descriptor = files.open_file(self.head.file)
            segment = self._read(self._descriptor) if self._has_grown(self._descriptor) else None
            if segment is None and not self.is_gone:
                # What was being written while it was closed, or its process killed, shows in one more look.
                ended = self._state != layout.STATE_OPEN or self._is_dead
                self._last_looks = self._last_looks + 1 if ended else 0
                self.is_over = self._last_looks > 1
        except FileNotFoundError:
            self.is_over = self.is_gone = True
            return found + self._moved()
        except (FormatError, files.RefusedError) as error:
            self._journal.note(self.head.file.path, [Damage(None, 0, 0, str(error))])
            self.is_over = True
            return found
        if segment is None and self.is_gone:
            return found + self._moved()
        if segment is None or not len(segment.events):
            return found
        if self._journal.archived:
            for slot in np.unique(segment.events.slot).tolist():
                self._next[slot] = int(segment.events.number[segment.events.slot == slot].max()) + 1
        young = _is_young(segment.events, until_ns) if until_ns is not None else np.zeros(0, bool)
        if young.any():
            # Of its own: by the next call, the file may be used again and the image hold other bytes.
            data = bytes(memoryview(segment.data)[: segment.header.used])
            later = replace(segment, data=data, events=segment.events.take(young))
            self._kept.append(self._journal.decoder(self.head.file, later))
            segment.events = segment.events.take(~young)
        if len(segment.events):
            found.append(self._journal.decoder(self.head.file, segment))
        return found

    def _moved(self) -> list[SegmentDecoder]:
        """What the archive has of the segment, and has not been read here."""
        archived = self._journal.archived
        decoder = archived.load(self.head.key) if archived else None
        if decoder is None:
            return []
        events = decoder.segment.events
        first = np.array([self._next.get(slot, 0) for slot in events.slot.tolist()], np.uint64)
        decoder.segment.events = events.take(events.number >= first)
        return [decoder]

    def _has_grown(self, descriptor: int) -> bool:
        # Hundreds of these are most of what an idle system costs: no generator, nothing that is not needed.
        if os.pread(descriptor, _HEAD_BYTES, 0) != self._start:
            return True
        for at, word in self._awaited:  # noqa: SIM110
            if os.pread(descriptor, _WORD, at) == word:
                return True
        return False

    def _read(self, descriptor: int) -> Segment | None:
        """The segment with what has come since it was read; None if nothing has."""
        start = os.pread(descriptor, layout.HEADER_SIZE + layout.CHUNK_HEADER_SIZE, 0)
        if not is_same_segment(self.head.header, start):
            self.is_over = self.is_gone = True  # its file is a later segment by now
            return None
        header = parse_header(start)
        self._start, self._state = start[:_HEAD_BYTES], header.state
        is_fresh = self._image is None
        image = self._image = self._make_room(header)
        everything = [(layout.HEADER_SIZE, min(header.used, layout.SEGMENT_MAX))]
        ranges = everything if is_fresh else self._grown(descriptor, header)
        if not ranges:
            return None
        image[: layout.HEADER_SIZE] = start[: layout.HEADER_SIZE]
        self._copy(descriptor, ranges)
        limits = count_committed(image)
        # Now what these events refer to, and they once more.
        start = os.pread(descriptor, layout.HEADER_SIZE, 0)
        later = parse_header(start)
        image = self._image = self._make_room(later)
        image[: layout.HEADER_SIZE] = start
        ranges += [(header.used, later.used)] if later.used > header.used else []
        ranges += [] if is_fresh else self._grown_definitions(descriptor)
        self._copy(descriptor, ranges)
        if not files.still_holds(descriptor, self.head.header):
            self.is_over = self.is_gone = True
            return None
        if is_fresh and self._positions:
            self._attributes = parse_segment(image, self._positions).attributes
        segment = parse_segment(image, limits, self._positions)
        self._positions = segment.positions
        self._attributes += segment.attributes
        segment.attributes = list(self._attributes)
        self._note_chunks(image, later, segment)
        return segment

    def _note_chunks(self, image: bytearray, header: Header, segment: Segment) -> None:
        """Notes what there is, and where the next will show: a thread writes to the last of its chunks only."""
        self._chunks, self._awaited = [], []
        last_of: dict[int, tuple[int, bytes]] = {}
        place = header.header_size
        for chunk in walk_chunks(image, header)[0]:
            self._await_chunks(place, chunk.offset)
            place = chunk.end
            if chunk.kind != layout.CHUNK_EVENTS:
                if chunk.kind in layout.ENTRY_SIZES:
                    self._chunks.append((chunk, len(committed(image, chunk))))
                continue
            count = segment.positions.get(chunk.offset, 0)
            self._chunks.append((chunk, count))
            if not count:
                self._awaited.append((_commit_at(chunk, 0), _word(chunk)))
                continue
            rows = committed(image, chunk)[:count]
            owners = np.flatnonzero(rows[:, 1] & 0xFF == layout.ENTRY_OWNER)
            if len(owners):
                last_of.pop(int(rows[owners[0], 2]), None)
                if count < chunk.capacity:
                    last_of[int(rows[owners[-1], 2])] = _commit_at(chunk, count), _word(chunk)
        self._awaited += last_of.values()
        self._await_chunks(place, min(header.used, layout.SEGMENT_MAX))

    def _await_chunks(self, start: int, end: int) -> None:
        """What is handed out and no chunk yet will be one."""
        self._awaited += [(at, _CHUNK_MAGIC) for at in range(start, end, layout.CHUNK_ALIGN)]

    def _grown(self, descriptor: int, header: Header) -> list[Range]:
        """Where there are new events: chunks with another entry, and what was no chunk."""
        ranges = []
        place = header.header_size
        for chunk, count in self._chunks:
            if chunk.offset > place:
                ranges += self._published(descriptor, place, chunk.offset)
            if chunk.kind == layout.CHUNK_EVENTS and _has_grown(descriptor, chunk, count):
                ranges.append((chunk.offset, chunk.end))
            place = chunk.end
        used = min(header.used, layout.SEGMENT_MAX)
        return [*ranges, (place, used)] if self._published(descriptor, place, used) else ranges

    def _published(self, descriptor: int, start: int, end: int) -> list[Range]:
        """This place, if there is a chunk in it by now."""
        for at in range(start, end, layout.CHUNK_ALIGN):
            if os.pread(descriptor, _WORD, at) == _CHUNK_MAGIC:
                return [(start, end)]
        return []

    def _grown_definitions(self, descriptor: int) -> list[Range]:
        return [
            (chunk.offset, chunk.end)
            for chunk, count in self._chunks
            if chunk.kind != layout.CHUNK_EVENTS and _has_grown(descriptor, chunk, count)
        ]

    def _make_room(self, header: Header) -> bytearray:
        """The copy, large enough: what it does not hold is zero."""
        used = min(max(header.used, _SMALLEST), layout.SEGMENT_MAX)
        image = self._image
        if image is None or len(image) < used:
            larger = bytearray(1 << (used - 1).bit_length())
            larger[: len(image or b"")] = image or b""
            return larger
        return image

    def _copy(self, descriptor: int, ranges: list[Range]) -> None:
        assert self._image is not None
        with memoryview(self._image) as image:
            for start, end in ranges:
                with image[start : min(end, len(image))] as part:
                    self.read_bytes += os.preadv(descriptor, [part], start)


def _has_grown(descriptor: int, chunk: Chunk, count: int) -> bool:
    if count >= chunk.capacity:
        return False
    return os.pread(descriptor, _WORD, _commit_at(chunk, count)) == _word(chunk)


def _word(chunk: Chunk) -> bytes:
    """What commits an entry."""
    return chunk.generation.to_bytes(_WORD, "little")


def _commit_at(chunk: Chunk, count: int) -> int:
    """Where the commit word of the entry stands that comes after so many."""
    return chunk.end - (count + 1) * chunk.entry_size


def _is_young(events: Events, until_ns: int) -> Column:
    """Which events are younger than an instant, or come after such a one in their thread."""
    young: Column = events.time > until_ns
    for slot in np.unique(events.slot[young]):
        mine = events.slot == slot
        young |= mine & np.logical_or.accumulate(young & mine)
    return young
