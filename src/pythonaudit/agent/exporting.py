"""Ships events to the targets of the configuration, each in a thread of its own.

    exporting = Exporting(directory, more, config.export, own, problems)
    exporting.start()
    exporting.figures()                 # by name: what was sent, what is wrong
    exporting.end(seconds)

A target that is slow or not there keeps nobody waiting but itself: what it has not taken is in the archive or the
journal (`export.feed`). If one fails, that is told as a problem, and it is tried again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pythonaudit.agent.config import Export
from pythonaudit.agent.problems import Problems
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.reader import ArchivedSegments
from pythonaudit.errors import ConfigError, PythonAuditError, UsageError
from pythonaudit.export.cursor import SUFFIX, Cursor
from pythonaudit.export.feed import Feed
from pythonaudit.export.shipping import Shipping, Stopped
from pythonaudit.export.targets import Address, Mirror, Misconfigured, Target, open_target, parse_address
from pythonaudit.journal.chunks import Damage
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal

FOLDER = "export"
LOOK_SECONDS = 0.5
_MIRROR_SECONDS = 5.0
_AGAIN_SECONDS = 30.0  # after a failure that is not for the target to end
_SECOND_NS = 1_000_000_000


def build_filter(export: Export, base: EventFilter | None = None) -> EventFilter:
    """Which events an export of the configuration means.

    Args:
        export: what is set.
        base: what else must hold.
    """
    return replace(
        base or EventFilter(),
        names=export.event,
        categories=export.category,
        sources=export.source,
        paths=export.path,
        packages=export.package,
    )


def check_export(export: Export) -> Address:
    """Where an export of the configuration goes.

    Raises:
        ConfigError: its address, or an option, makes no sense.
    """
    try:
        address = parse_address(export.to, export.options)
        with suppress(Misconfigured):  # what is not there now may come
            open_target(address).close()
    except UsageError as error:
        raise ConfigError(f"export {export.name}: {error}", hint=error.hint) from None
    return address


class Exporting:
    """Ships to several targets.

    Args:
        directory, more: as of `Journal`.
        exports: what is set.
        problems: what went wrong.

    Raises:
        PythonAuditError: an address or an option makes no sense.
    """

    def __init__(
        self, directory: Path, more: Iterable[Path], exports: Sequence[Export], problems: Problems
    ) -> None:
        self._end = threading.Event()
        where = directory, tuple(more)
        self._several = [_Export(*where, export, problems, self._end) for export in exports]

    def start(self) -> None:
        """Begins."""
        for one in self._several:
            one.thread.start()

    def figures(self) -> dict[str, dict[str, Any]]:
        """How things are with each, by name."""
        return {one.name: one.figures() for one in self._several}

    def end(self, seconds: float) -> None:
        """Waits until each has noted what was acknowledged, but no longer than so long."""
        self._end.set()
        until = time.monotonic() + seconds
        for one in self._several:
            if one.thread.is_alive():
                one.thread.join(max(until - time.monotonic(), 0))


class _Export:
    """One of them."""

    def __init__(
        self, directory: Path, more: Sequence[Path], export: Export, problems: Problems, end: threading.Event
    ) -> None:
        self.name = export.name
        self._directory, self._more, self._export = directory, more, export
        self._problems, self._end = problems, end
        self._address = check_export(export)
        self._shipping: Shipping | None = None
        self._trouble = ""
        self._counts: Mapping[str, int] = {}
        self.thread = threading.Thread(target=self._run, name=f"export {export.name}", daemon=True)

    def figures(self) -> dict[str, Any]:
        """How things are: events that were sent or refused, segments that were gone, trouble, how far it is."""
        shipping = self._shipping
        trouble = self._trouble or (shipping.trouble if shipping else "")
        counts = dict(self._counts)
        said: dict[str, Any] = {kind: counts.get(kind, 0) for kind in ("sent", "refused", "gone")}
        if trouble:
            said["trouble"] = trouble
        if shipping and shipping.behind_since_ns:
            said["behind"] = max(time.time_ns() - shipping.behind_since_ns, 0) / _SECOND_NS
        return said

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                with closing(open_target(self._address)) as target:
                    self._trouble = ""
                    if isinstance(target, Mirror):
                        self._mirror(target)
                    else:
                        self._ship(target)
            except Stopped:
                return
            except Exception as error:
                hint = f"; {error.hint}" if isinstance(error, PythonAuditError) and error.hint else ""
                self._trouble = str(error) if isinstance(error, PythonAuditError) else repr(error)
                self._tell(f"{self._trouble}{hint}")
                self._end.wait(_AGAIN_SECONDS)

    def _ship(self, target: Target) -> None:
        path = self._directory / FOLDER / f"{self.name}{SUFFIX}"
        with closing(Cursor(path, self._address.text)) as cursor:
            self._counts = cursor.counts
            archived = ArchivedSegments(Archive(self._directory))
            journal = TolerantJournal(self._directory, self._more, archived)
            with closing(Feed(journal, archived, build_filter(self._export), cursor)) as feed:
                self._shipping = shipping = Shipping(feed, target, cursor, self._tell, self._end.wait)
                while not journal.is_begun and not self._end.wait(LOOK_SECONDS):
                    pass
                try:
                    shipping.ship_backlog()
                    while not self._end.is_set():
                        if not shipping.ship_news():
                            self._end.wait(LOOK_SECONDS)
                finally:
                    cursor.save()

    def _mirror(self, target: Mirror) -> None:
        counts = {"sent": 0}
        self._counts = counts
        while not self._end.is_set():
            if Archive(self._directory).exists:
                shipped = target.ship(self._directory)
                counts["sent"] += shipped.events
                if not shipped.is_done:
                    continue
            self._end.wait(_MIRROR_SECONDS)

    def _tell(self, text: str) -> None:
        self._problems.note(f"export {self.name}", f"export {self.name}: {text}")


class TolerantJournal(Journal):
    """Its damage is told by whoever seals and archives, and not kept here."""

    @property
    def is_begun(self) -> bool:
        """Whether there is anything yet."""
        return any(place.is_dir() for place in self.places()) or bool(self.archived and self.archived.exists)

    def note(self, path: Path | None, damage: Sequence[Damage]) -> None:
        """Forgets it."""
