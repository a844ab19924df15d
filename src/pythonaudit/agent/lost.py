"""The task that tells of segments which were sealed, and have gone before they were archived.

A listing of a directory in which files get other names is no instant: what is missing in it must be missing in the
next one too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from pythonaudit.agent.figures import Figures
from pythonaudit.agent.problems import Problems
from pythonaudit.archive.covered import Covered
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.sealer import Sealer
from pythonaudit.errors import StoreError
from pythonaudit.journal.reader import Journal, Key

_EVICTED = "evicted"
_MISSING = "missing"


class Lost:
    """Tells the log of what has gone.

    Args:
        directory, more: as of `Journal`.
        sealer: tells the log, if there is one.
        present: segments that are known to be there.
        evicting: users whose processes have made room by removing their own segments.
        figures, problems: what came of it.
    """

    def __init__(
        self,
        directory: Path,
        more: Iterable[Path],
        sealer: Sealer,
        present: Callable[[], set[Key]],
        evicting: Callable[[], set[int]],
        figures: Figures,
        problems: Problems,
    ) -> None:
        self._directory = directory
        self._more = tuple(more)
        self._sealer = sealer
        self._present = present
        self._evicting = evicting
        self._figures = figures
        self._problems = problems
        self._unseen: set[Key] = set()
        self._missed: set[Key] = set()
        self._there: set[Key] = set()  # in the journal, although nobody watches them

    def run(self) -> None:
        """Looks, if there is anything to look for.

        Raises:
            OSError, StoreError: the log cannot be written.
        """
        unseen = self._sealer.sealed() - self._present()
        wanted, self._unseen = unseen & self._unseen - self._there, unseen
        self._missed &= unseen
        self._there &= unseen
        if not wanted:
            return
        archive = Archive(self._directory)
        with archive.lock():  # nothing moves meanwhile
            there = self._listed()
            self._there = unseen & there
            missing = wanted - there
            covered = Covered(archive) if missing & self._missed else None
            gone = {key for key in missing & self._missed if covered and not covered.has(key)}
            self._missed = missing - gone
            if gone:
                evicting = self._evicting()
                count = self._sealer.gone(
                    {key: _EVICTED if key[2] in evicting else _MISSING for key in sorted(gone)}
                )
                self._figures.gone += count
                self._problems.note("gone", f"{count} sealed segments have gone before they were archived")

    def _listed(self) -> set[Key]:
        journal = Journal(self._directory, self._more)
        try:
            return {head.key for head in journal.heads()}
        except StoreError:
            if (self._directory / "journal").exists():
                raise
            return set()
