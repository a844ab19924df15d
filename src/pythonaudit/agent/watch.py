"""The journal as the agent reads it: what is written in it by others can neither fill its memory nor keep it busy.

Two readings of the same files: `WatchedJournal` for following, which forgets what is wrong with them as soon as it is
told; `ServedJournal` for one run of archiving, in which each box has so much time, and a segment that nobody can deal
with is left alone.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from pythonaudit.agent.problems import Problems
from pythonaudit.archive.covered import Covered
from pythonaudit.journal.chunks import Damage
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.reader import Journal, Key, SegmentHead

BOX_SECONDS = 10.0


class WatchedJournal(Journal):
    """For following.

    Attributes:
        covered: segments that are in the archive and need not be read; None: what comes is new.
    """

    def __init__(self, directory: Path, more: Iterable[Path], problems: Problems) -> None:
        super().__init__(directory, more)
        self._problems = problems
        self.covered: Covered | None = None

    def unarchived(self, heads: list[SegmentHead]) -> list[SegmentHead]:
        """Those that are not in the archive."""
        covered = self.covered
        return heads if covered is None else [head for head in heads if not covered.has(head.key)]

    def note(self, path: Path | None, damage: Sequence[Damage]) -> None:
        """Damage is told, and not kept."""
        for one in damage:
            note_damage(self._problems, one._replace(path=one.path or path))


class ServedJournal(Journal):
    """For one run of archiving: what `load` does not give stays where it is.

    Args:
        directory, more: as of `Journal`.
        refused: segments that are left alone.
        box_seconds: how long the segments of one box may take.

    Attributes:
        last: the segment that was loaded last.
        left: segments for which there was no time.
        is_stopping: nothing more is loaded.
    """

    def __init__(
        self, directory: Path, more: Iterable[Path], refused: set[Key], box_seconds: float = BOX_SECONDS
    ) -> None:
        super().__init__(directory, more)
        self._refused = refused
        self._box_seconds = box_seconds
        self._spent: dict[Path, float] = defaultdict(float)
        self._at: tuple[Path, float] | None = None
        self.last: SegmentHead | None = None
        self.left: set[Key] = set()
        self.is_stopping = False

    def load(self, head: SegmentHead) -> SegmentDecoder | None:
        """As `Journal.load`, within the time of its box."""
        box, now = head.file.path.parent, time.monotonic()
        if self._at is not None:  # what was done with the one before is part of it
            self._spent[self._at[0]] += now - self._at[1]
        self._at = None
        if head.key in self._refused:
            return None
        if self._spent[box] > self._box_seconds or self.is_stopping:
            self.left.add(head.key)
            return None
        self._at = box, now
        self.last = head
        try:
            return super().load(head)
        except OSError as error:  # of this file: a bad sector
            self._refused.add(head.key)
            self.note(head.file.path, [Damage(None, 0, 0, f"cannot be read: {error.strerror}")])
            return None


def note_damage(problems: Problems, damage: Damage) -> None:
    """Tells of damage, of each box once a minute."""
    extent = f"{damage.length} bytes unreadable: " if damage.length else ""
    box = damage.path.parent if damage.path else None
    problems.note(f"damage in {box}", f"{damage.path}: {extent}{damage.reason}")
