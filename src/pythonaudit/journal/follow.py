"""New events of running processes, by looking again and again.

What a recorder writes wakes nobody up, so every segment that can grow is looked at: a few bytes where its next
entries and chunks will appear (`watched`). A segment is watched from its first appearance until it is closed, or its
process is dead, and nothing new has come since. A box is listed again when its directory has changed. What has moved
to the archive before it was read to its end, or was seen at all, is read there.

Threads and segments are read one after the other, and are written all the while. So what is younger than
a look's begin is kept until the next look: what is given out by then is all that had happened before it.

Nobody's journal keeps others from being read: a look reads so much of each box, and the next one goes on where it
stopped (`is_behind`). Copies, descriptors and what is noted of each segment are bounded as well.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pythonaudit.errors import StoreError
from pythonaudit.journal import files
from pythonaudit.journal.chunks import Damage
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.watched import Watched

if TYPE_CHECKING:
    from pythonaudit.journal.reader import Journal, Key, SegmentHead

_DirectoryState = tuple[int, int] | None

POLL_SECONDS = 0.2

# A directory's time of change is this coarse at worst: within it, a change need not show.
_COARSE_SECONDS = 2.0

LOOK_BYTES = 16 << 20
IMAGES_BYTES = 64 << 20
DESCRIPTORS = 256
_QUIET_AFTER_SECONDS = 2.0  # without anything new
_QUIET_SECONDS = 0.7  # what is quiet is looked at so often
_BOX_SECONDS = 0.25
_BOX_SEGMENTS = 4096  # that are watched in a box
_BOX_CHUNKS = 1 << 17  # in all of them
_NEW_AT_ONCE = 500
_UNBEGUN_AT_ONCE = 50


@dataclass(slots=True)
class _Box:
    """What is known of a box.

    Attributes:
        box: as it was when it was listed.
        listed_at: when it had changed and was listed (`time.monotonic`).
        known: names that have been looked at, and are there.
        new: those that have not. `unbegun`: those whose header is not finished.
        watched: segments, by path.
        chunks: how many they have, all together.
    """

    box: files.Box
    listed_at: float | None = None
    known: set[str] = field(default_factory=set)
    new: dict[str, None] = field(default_factory=dict)
    unbegun: dict[str, None] = field(default_factory=dict)
    watched: dict[Path, Watched] = field(default_factory=dict)
    chunks: int = 0


class Follower:
    """Watches the segments of a journal.

    Args:
        journal: which.
        in_order: what is younger than a look's begin comes with the next.
        descriptors: how many are kept open.
        skip: which segments are not looked at.

    Attributes:
        is_behind: the last look left something for the next.
        since: when what the last look gave can have been written first (`time.monotonic`): when its segments had
            been looked at, or seen first. Their own times are what others say.
        over: segments that are watched no longer, since the list was last emptied; None: nobody asks.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        in_order: bool = True,
        descriptors: int = DESCRIPTORS,
        skip: Callable[[Key], bool] = lambda key: False,
    ) -> None:
        self._journal = journal
        self._in_order = in_order
        self._descriptors = descriptors
        self._skip = skip
        self._changes = -1  # of the archive, when it was looked at
        self._open = 0
        self._noted: dict[Path, _DirectoryState] = {}  # of the directories in which boxes are
        self._noted_at = 0.0
        self._boxes: dict[Path, _Box] = {}
        self._seen: set[Key] = set()
        self._images: dict[Path, Watched] = {}  # those that have one, the one that was read last at the end
        self._images_bytes = 0
        self.is_behind = False
        self.since = 0.0
        self.over: list[Watched] | None = None

    @property
    def watched(self) -> dict[Path, Watched]:
        """The segments that can grow, by path."""
        return {path: one for box in self._boxes.values() for path, one in box.watched.items()}

    def begin(self) -> tuple[list[SegmentHead], list[SegmentDecoder]]:
        """Notes all that is there, and where it ends; what comes later is new.

        Returns:
            The segments in which nothing more can come, and what is in the others by now.
        """
        heads, decoders = [], []
        now_ns = time.time_ns()
        self._list()
        new = self._new_heads(files.BOX_FILES)
        self._archived()
        for head in new:
            watched = Watched(self._journal, head)
            if watched.is_dead or (head.end_ns is not None and head.end_ns <= now_ns):
                heads.append(head)
                continue
            box = self._watch(watched)
            decoders += self._read(box, watched, now_ns)
        return heads, decoders

    def poll_until(self, stop: threading.Event) -> Iterator[list[SegmentDecoder]]:
        """Looks for new events again and again; gives segments with nothing but new events in them."""
        while not stop.is_set():
            yield self.poll()
            stop.wait(0 if self.is_behind else POLL_SECONDS)

    def poll(self) -> list[SegmentDecoder]:
        """Looks once."""
        return list(self.look())

    def look(self) -> Iterator[SegmentDecoder]:
        """Looks once, segment by segment. What one of them points into can be other bytes after the next look."""
        until_ns = time.time_ns() if self._in_order else None
        self.notice()
        yield from self._archived()
        self.is_behind = False
        self.since = time.monotonic()
        left = LOOK_BYTES
        boxes = list(self._boxes.values())
        share = max(left // max(len(boxes), 1), 1)
        for box in boxes:
            if left <= 0:
                self.is_behind = True
                break
            # Whoever was looked at comes last in the next look, in case that this one ends before all were.
            self._boxes[box.box.path] = self._boxes.pop(box.box.path)
            for decoders, read in self._look_at(box, min(share, left), until_ns):
                left -= read
                yield from decoders

    def notice(self) -> None:
        """Looks whether there are new segments."""
        try:
            self._list()
        except StoreError:
            self._forget_boxes(set())  # the directory was removed, or moved away; it may come again
        for head in self._new_heads(_NEW_AT_ONCE):
            self._watch(Watched(self._journal, head))

    def begin_again(self, keys: Collection[Key]) -> None:
        """What was given of these segments is given once more with the next look, if they are still watched."""
        for watched in self.watched.values():
            if watched.head.key in keys:
                watched.begin_again()

    def close(self) -> None:
        """Closes what is open."""
        for watched in self.watched.values():
            self._close(watched)

    def _watch(self, watched: Watched) -> _Box:
        path = watched.head.file.path
        box = self._boxes[path.parent]
        box.watched[path] = watched
        watched.news_at = watched.looked_at = time.monotonic()
        return box

    def _look_at(self, box: _Box, share: int, until_ns: int | None) -> Iterator[tuple[list[SegmentDecoder], int]]:
        """Looks at the segments of a box, and gives what was read of each, and how much."""
        begin = time.monotonic()
        several = list(box.watched.values())
        for number, watched in enumerate(several):
            now = time.monotonic()
            if share <= 0 or now - begin > _BOX_SECONDS:
                # The next look begins where this one ends.
                box.watched = {
                    one.head.file.path: one for one in several[number:] + several[:number] if not one.is_left
                }
                self.is_behind = True
                return
            is_quiet = now - watched.news_at > _QUIET_AFTER_SECONDS
            if is_quiet and now - watched.looked_at < _QUIET_SECONDS:
                continue
            looked_at, watched.looked_at = watched.looked_at, now
            if not watched.has_news():
                continue
            decoders = self._read(box, watched, until_ns)
            if decoders:
                self.since = min(self.since, looked_at)
            if watched.read_bytes:
                watched.news_at = now
                share -= watched.read_bytes
            if decoders:
                yield decoders, watched.read_bytes
            if watched.is_over and not decoders:
                self._leave(box, watched)

    def _read(self, box: _Box, watched: Watched, until_ns: int | None) -> list[SegmentDecoder]:
        """Looks at one segment, whatever is in it."""
        had, chunks, was_open = watched.image_bytes, watched.chunks, watched.is_open
        try:
            decoders = watched.read(until_ns)
        except Exception as error:  # of what somebody wrote: it must not keep others from being read
            self._journal.note(watched.head.file.path, [Damage(None, 0, 0, f"cannot be read: {error!r}")])
            watched.is_over, decoders = True, []
        self._open += watched.is_open - was_open
        if watched.is_open and self._open > self._descriptors:
            self._close(watched)
        box.chunks += watched.chunks - chunks
        if box.chunks > _BOX_CHUNKS:
            self._journal.note(
                box.box.path, [Damage(None, 0, 0, "too much is open here: some is read when closed")]
            )
            watched.is_over = True
        if watched.read_bytes:
            self._keep_image(watched, had)
        return decoders

    def _keep_image(self, watched: Watched, had: int) -> None:
        path = watched.head.file.path
        self._images.pop(path, None)
        self._images[path] = watched
        self._images_bytes += watched.image_bytes - had
        while self._images_bytes > IMAGES_BYTES and len(self._images) > 1:
            self._drop_image(next(iter(self._images)))

    def _drop_image(self, path: Path) -> None:
        one = self._images.pop(path, None)
        if one:
            self._images_bytes -= one.image_bytes
            one.drop_image()

    def _close(self, watched: Watched) -> None:
        self._open -= watched.is_open
        watched.close()

    def _leave(self, box: _Box, watched: Watched) -> None:
        """Watches a segment no longer."""
        path = watched.head.file.path
        del box.watched[path]
        watched.is_left = True
        box.chunks -= watched.chunks
        self._close(watched)
        self._drop_image(path)
        if watched.is_gone:
            box.known.discard(path.name)  # what has this name by now is another
        if self.over is not None:
            self.over.append(watched)

    def _list(self) -> None:
        """Finds boxes, and lists those that have changed.

        Raises:
            StoreError: there is no journal, or it may not be read.
        """
        if self._is_as_it_was():
            return
        present = self._journal.boxes()
        self._noted = {place: _state_of(place) for place in self._journal.places()}
        self._noted_at = time.monotonic()
        self._forget_boxes({box.path for box in present})
        for found in present:
            box = self._boxes.setdefault(found.path, _Box(found))
            now = time.monotonic()
            if box.box.changed_ns != found.changed_ns or box.listed_at is None:
                box.listed_at = now
            elif now - box.listed_at > _COARSE_SECONDS:
                continue
            box.box = found
            self._list_box(box)

    def _is_as_it_was(self) -> bool:
        """Whether no directory has changed, and each has been listed since it could have without showing it."""
        long_ago = time.monotonic() - _COARSE_SECONDS
        if (
            not self._noted
            or self._noted_at > long_ago
            or any((one.listed_at or 0.0) > long_ago for one in self._boxes.values())
        ):
            return False
        return all(_state_of(place) == state for place, state in self._noted.items()) and all(
            _state_of(path) == (one.box.uid, one.box.changed_ns) for path, one in self._boxes.items()
        )

    def _list_box(self, box: _Box) -> None:
        names = files.list_names(box.box)
        there = set(names)
        box.known &= there
        for waiting in (box.new, box.unbegun):
            for name in waiting.keys() - there:
                del waiting[name]
        for path, watched in box.watched.items():
            box.known.add(path.name)
            if path.name not in there or watched.was_removed():
                self._close(watched)  # the next look opens it by its name: it has gone, or become another
        box.new |= dict.fromkeys(name for name in names if name not in box.known and name not in box.unbegun)

    def _forget_boxes(self, present: set[Path]) -> None:
        """Boxes that are not there any more go when their segments have been looked for."""
        for path in self._boxes.keys() - present:
            box = self._boxes[path]
            for watched in box.watched.values():
                self._close(watched)
            if box.watched:
                self._boxes[path] = _Box(box.box, watched=box.watched, chunks=box.chunks)
            else:
                del self._boxes[path]

    def _new_heads(self, most: int) -> list[SegmentHead]:
        """Segments that have begun, and have not been seen before: no more than so many of each box."""
        heads = []
        for box in self._boxes.values():
            unbegun = list(box.unbegun)[:_UNBEGUN_AT_ONCE]
            room = max(most, _BOX_SEGMENTS) - len(box.watched)
            for name in [*unbegun, *list(box.new)[: max(min(room, most), 0)]]:
                head = self._journal.read_head(files.SegmentFile(box.box.path / name, box.box.uid))
                box.new.pop(name, None)
                box.unbegun.pop(name, None)
                if head is None:
                    box.unbegun[name] = None  # or refused, or gone: a box that has changed is listed again
                else:
                    heads.append(head)
                    box.known.add(name)
        if heads or self._journal.archived:
            heads = self._journal.unarchived(heads)
        if self._journal.archived:
            self._seen.update(head.key for head in heads)
        return [head for head in heads if not self._skip(head.key)]

    def _archived(self) -> Iterator[SegmentDecoder]:
        """What is in the archive and has been seen neither there nor in the journal. It has by now."""
        archived = self._journal.archived
        if archived is None or archived.changes == self._changes:
            return iter(())
        self._changes = archived.changes
        new = [key for key, _ in archived.known() if key not in self._seen]
        self._seen.update(new)
        loaded = (archived.load(key) for key in new if not self._skip(key))
        return (decoder for decoder in loaded if decoder is not None)


def _state_of(path: Path) -> _DirectoryState:
    """Owner and time of change of a directory; None: it is not there, or is none."""
    try:
        state = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return (state.st_uid, state.st_mtime_ns) if stat.S_ISDIR(state.st_mode) else None
