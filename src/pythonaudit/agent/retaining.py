"""The task that keeps retention: what is older than its time, or more than there may be, goes; holds stay."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pythonaudit.agent.config import Config
from pythonaudit.agent.figures import Figures
from pythonaudit.agent.problems import Problems
from pythonaudit.archive import retention
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.sealer import Sealer
from pythonaudit.journal.reader import Journal


class Retaining:
    """Applies what the configuration says, or else its defaults.

    Args:
        directory, more: as of `Journal`.
        config: how much is kept, and what is held.
        sealer: tells the log, if there is one.
        figures, problems: what came of it.
    """

    def __init__(
        self,
        directory: Path,
        more: Iterable[Path],
        config: Config,
        sealer: Sealer,
        figures: Figures,
        problems: Problems,
    ) -> None:
        self._directory, self._more = directory, tuple(more)
        self._config = config
        self._sealer = sealer
        self._figures, self._problems = figures, problems

    def run(self) -> None:
        """Applies it once.

        Raises:
            StoreError, OSError: it could not be done.
        """
        archive = Archive(self._directory)
        if not archive.exists:
            return
        journal = Journal(self._directory, self._more)
        report = retention.apply(archive, journal, self._config.retention, self._config.hold, self._sealer)
        self._figures.dropped += report.events
        self._figures.dropped_files += report.files
        if report.over:
            names = ", ".join(sorted(set().union(*report.held.values())))
            self._problems.note("retention", f"the archive is {report.over:,} bytes too large, and held: {names}")
