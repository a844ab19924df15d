"""The task that archives: what has closed goes into the archive when there is enough of it, or it has waited enough.

A segment that makes archiving fail, whatever is in it, is found by archiving each on its own, and left alone from then
on: it stays in the journal, and is told.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from pythonaudit.agent.figures import Figures
from pythonaudit.agent.problems import Problems
from pythonaudit.agent.watch import ServedJournal, note_damage
from pythonaudit.archive.compact import compact
from pythonaudit.archive.holds import Hold
from pythonaudit.archive.ingest import Report, ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.memory import release
from pythonaudit.archive.sealer import Sealer
from pythonaudit.errors import StoreError
from pythonaudit.journal import layout
from pythonaudit.journal.reader import Key
from pythonaudit.journal.watched import Watched

CLOSED_BYTES = 64 << 20
WAIT_SECONDS = 30.0  # a segment is archived within a minute of its closing
BATCH_BYTES = 16 << 20  # of journal; what is archived takes several times as much memory
_MANY_BATCHES = 64
_COMPACTED_EVENTS = 1 << 18  # memory again


class Archiving:
    """Archives closed segments.

    Args:
        directory, more: as of `Journal`.
        holds: what is held is not put together with what is not.
        sealer: tells the log, if there is one.
        figures, problems: what came of it.

    Attributes:
        has_more: the last run had no time for some of it, or there was none yet.
    """

    def __init__(
        self,
        directory: Path,
        more: Iterable[Path],
        holds: Sequence[Hold],
        sealer: Sealer,
        figures: Figures,
        problems: Problems,
    ) -> None:
        self._directory = directory
        self._more = tuple(more)
        self._holds = tuple(holds)
        self._sealer = sealer
        self._figures = figures
        self._problems = problems
        self._lock = threading.Lock()
        self._closed: dict[Key, tuple[Watched, float]] = {}
        self._refused: set[Key] = set()
        self.has_more = True  # what was there before us
        self._journal: ServedJournal | None = None
        self._batches = 0  # after the last compaction

    def add(self, segments: Iterable[Watched]) -> None:
        """These segments have closed."""
        now = time.monotonic()
        with self._lock:
            for one in segments:
                if not one.is_gone:
                    self._closed.setdefault(one.head.key, (one, now))
        self._count()

    def waiting(self) -> set[Key]:
        """Segments that have closed, and are not archived."""
        with self._lock:
            return set(self._closed)

    def stop(self) -> None:
        """What is being done comes to an end as soon as it can."""
        if self._journal is not None:
            self._journal.is_stopping = True

    def run(self) -> None:
        """Archives, if it is time to.

        Raises:
            StoreError, OSError: it could not be done.
        """
        self._count()
        if self.is_due():
            self.archive()

    def is_due(self) -> bool:
        """Whether it is time to."""
        if self.has_more:
            return True
        now = time.monotonic()
        with self._lock:
            closed = list(self._closed.items())
        for key, (one, at) in closed:
            if now - at < WAIT_SECONDS:
                break  # and so all that come later
            if one.is_closed:
                return True
            with self._lock:  # its process ended in order, and is there still
                self._closed.pop(key, None)
                self._closed[key] = one, now
        if self._figures.closed_bytes < CLOSED_BYTES:
            return False
        return sum(size_of(one) for _, (one, _) in closed if one.is_closed) >= CLOSED_BYTES

    def archive(self) -> None:
        """Archives all that has closed.

        Raises:
            StoreError, OSError: it could not be done.
        """
        begin = time.monotonic()
        with self._lock:
            closed = {key for key, (one, _) in self._closed.items() if one.is_closed}
        if not (self._directory / "journal").is_dir() and not closed:
            self.has_more = False
            return
        journal = self._make_journal()
        try:
            self._ingest(journal, BATCH_BYTES)
        except (StoreError, OSError):
            raise
        except Exception as error:
            self._problems.note("archiving", f"archiving failed, and goes on segment by segment: {error!r}")
            journal = self._one_by_one()
        finally:
            self._figures.archive_seconds += time.monotonic() - begin
            release()
        with self._lock:
            for key in closed - journal.left:
                self._closed.pop(key, None)
        self.has_more = bool(journal.left)
        self._count()

    def compact(self) -> None:
        """Puts small batches together, when there are many new ones.

        Raises:
            StoreError, OSError: it could not be done.
        """
        archive = Archive(self._directory)
        if self._count_batches(archive) - self._batches >= _MANY_BATCHES:
            self._figures.compacted += compact(archive, _COMPACTED_EVENTS, self._sealer, self._holds)
            self._batches = self._count_batches(archive)
            release()

    def _one_by_one(self) -> ServedJournal:
        """Each segment is a batch: whichever fails is left alone."""
        while True:
            journal = self._make_journal()
            try:
                self._ingest(journal, 1)
            except (StoreError, OSError):
                raise
            except Exception as error:
                if journal.last is None or journal.last.key in self._refused:
                    raise
                self._refused.add(journal.last.key)
                path = journal.last.file.path
                self._problems.note(f"archiving {path.parent}", f"{path} cannot be archived, and stays: {error!r}")
            else:
                return journal

    def _make_journal(self) -> ServedJournal:
        self._journal = ServedJournal(self._directory, self._more, self._refused)
        return self._journal

    def _ingest(self, journal: ServedJournal, batch_bytes: int) -> None:
        archive = Archive(self._directory)
        report = ingest(journal, archive, batch_bytes=batch_bytes, sealer=self._sealer)
        self._add_up(report)
        for damage in journal.damage():
            note_damage(self._problems, damage)
        for problem in archive.problems():
            self._problems.note("archive", problem)
        for path, kept in report.released.damaged.items():
            self._problems.note(f"damage in {path.parent}", f"{path.name}: damaged, kept as {kept}")
        for reason in report.released.unpublished.values():
            self._problems.note("release", f"segments of running processes are not used again: {reason}")

    def _add_up(self, report: Report) -> None:
        figures = self._figures
        figures.archived += report.events
        figures.archived_segments += report.segments
        figures.archived_bytes += report.bytes
        figures.batches += report.batches

    def _count(self) -> None:
        with self._lock:
            first = next((at for one, at in self._closed.values()), None)
            self._figures.waiting = time.monotonic() - first if first is not None else 0.0
            self._figures.closed = len(self._closed)
            self._figures.closed_bytes = sum(size_of(one) for one, _ in self._closed.values())

    def _count_batches(self, archive: Archive) -> int:
        try:
            return len(os.listdir(archive.root / "manifest"))
        except FileNotFoundError:
            return 0


def size_of(watched: Watched) -> int:
    """How large a segment is."""
    return max(min(watched.used, layout.SEGMENT_MAX), layout.HEADER_SIZE)
