"""Holds each new event against the rules, and tells alerts: into the trail, and to people.

    detecting = Detecting(directory, more, config.detect, record, messenger, problems)
    detecting.start()
    detecting.figures()
    detecting.end(seconds)

It is shipping (`export.shipping`) to a target of our own, the rules: from a cursor, in order, each event once, in a
thread of its own; whoever comes back after a crash goes on where he was. Matches that belong together are one alert,
which is told at once, and again when there are more of them, once a minute at most.

What had been recorded before the agent was first started is for `pythonaudit detect`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pythonaudit.agent.config import Detect
from pythonaudit.agent.exporting import TolerantJournal
from pythonaudit.agent.messages import Messenger
from pythonaudit.agent.problems import Problems
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.reader import ArchivedSegments
from pythonaudit.detect import trail
from pythonaudit.detect.engine import Engine
from pythonaudit.detect.excepted import load_exceptions
from pythonaudit.detect.library import Library, load_library, load_placeholders
from pythonaudit.errors import PythonAuditError
from pythonaudit.export.cursor import SUFFIX, Cursor
from pythonaudit.export.feed import Feed
from pythonaudit.export.shipping import Shipping, Stopped
from pythonaudit.export.targets import Answer
from pythonaudit.journal.decode import Event
from pythonaudit.journal.filters import EventFilter
from pythonaudit.query.at_hand import build_processes, open_events
from pythonaudit.query.connection import connect

LOOK_SECONDS = 0.5
AGAIN_SECONDS = 60.0  # between two that are told of one alert
REMEMBERED_DAYS = 30
_AFTER_FAILURE_SECONDS = 30.0
_SHARE = 0.1  # of a processor, as long as it is not behind
_LONGEST_PAUSE_SECONDS = 5.0
_MOST = 10_000  # events at a time
_PROCESSES = 20_000  # of which it is known who started them
_DAY_NS = 86_400_000_000_000

Record = Callable[[str, dict[str, Any]], str]
"""Records an event of ours in the directory; why that cannot be done, or nothing."""


class Detecting:
    """Detects, in a thread of its own.

    Args:
        directory, more: as of `Journal`.
        detect: what is set.
        record: takes alerts.
        messenger: tells people.
        problems: what went wrong.
        owners: users whose word on alerts counts.
    """

    def __init__(
        self,
        directory: Path,
        more: Iterable[Path],
        detect: Detect,
        record: Record,
        messenger: Messenger,
        problems: Problems,
        owners: frozenset[int],
    ) -> None:
        self._directory, self._more, self._detect = directory, tuple(more), detect
        self._record, self._messenger, self._problems = record, messenger, problems
        self._owners = owners
        self._end = threading.Event()
        self._shipping: Shipping | None = None
        self._watch: _Watch | None = None
        self._trouble = ""
        self._rules = 0
        self._thread = threading.Thread(target=self._run, name="detecting", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def figures(self) -> dict[str, Any]:
        """How things are: rules that are in force, events held against them, alerts, seconds behind, trouble."""
        watch, shipping = self._watch, self._shipping
        said: dict[str, Any] = {"rules": self._rules}
        said["events"] = watch.events if watch else 0
        said["alerts"] = watch.alerts if watch else 0
        if shipping and shipping.behind_since_ns:
            said["behind"] = max(time.time_ns() - shipping.behind_since_ns, 0) / 1e9
        if self._trouble:
            said["trouble"] = self._trouble
        return said

    def end(self, seconds: float) -> None:
        """Waits until what has been looked at is told, but no longer than so long."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                self._detect_all()
            except Stopped:
                return
            except Exception as error:
                known = isinstance(error, PythonAuditError)
                self._fail(str(error) if known else repr(error), getattr(error, "hint", None))
                self._end.wait(_AFTER_FAILURE_SECONDS)

    def _fail(self, text: str, hint: str | None = None) -> None:
        self._trouble = text
        self._problems.note("detection", f"detection: {text}; {hint}" if hint else f"detection: {text}")

    def _detect_all(self) -> None:
        library, engine = self._load()
        archived = ArchivedSegments(Archive(self._directory))
        journal = TolerantJournal(self._directory, self._more, archived)
        path = self._directory / "agent" / f"detect{SUFFIX}"
        with closing(engine), closing(Cursor(path, "the rules")) as cursor:
            cursor.save()
            self._rules = len(library.rules)  # what is recorded from now on is looked at
            while not journal.is_begun and not self._end.wait(LOOK_SECONDS):
                pass
            self._watch = watch = _Watch(engine, self._record, self._messenger, self._owners)
            watch.remember(journal)
            watch.warm_up(journal, max(time.time_ns() - engine.span_ns, cursor.made_ns))
            wanted = EventFilter(since_ns=cursor.made_ns)
            with closing(Feed(journal, archived, wanted, cursor)) as feed:
                self._shipping = shipping = Shipping(feed, watch, cursor, self._fail, self._end.wait)
                if not library.refused:
                    self._trouble = ""
                try:
                    shipping.ship_backlog()
                    while not self._end.is_set():
                        begin = time.thread_time()
                        is_behind = shipping.ship_news()
                        watch.rest()
                        if not is_behind:
                            # To ask all rules costs much the same of one event and of thousands.
                            pause = (time.thread_time() - begin) / _SHARE
                            self._end.wait(min(max(pause, LOOK_SECONDS), _LONGEST_PAUSE_SECONDS))
                finally:
                    watch.rest(is_last=True)
                    cursor.save()

    def _load(self) -> tuple[Library, Engine]:
        """The rules.

        Raises:
            PythonAuditError: they cannot be read, or the exceptions make no sense.
        """
        library = load_library(self._directory)
        own = self._directory / "rules"
        today = datetime.now(timezone.utc).date()
        exceptions, over = load_exceptions(own, library, load_placeholders(own), today)
        for error in library.refused:
            self._fail(str(error), error.hint)
        for one in over:
            self._problems.note("exceptions", f"{one.file}:{one.line}: this exception ended on {one.expires}")
        return library, Engine(library, exceptions, self._detect.level)


class _Watch:
    """The rules as a target of events.

    Attributes:
        events: that were held against them. `alerts`: that came of it.
    """

    most = _MOST

    def __init__(self, engine: Engine, record: Record, messenger: Messenger, owners: frozenset[int]) -> None:
        self._engine, self._record, self._messenger, self._owners = engine, record, messenger, owners
        self._open: dict[trail.Group, trail.Told] = {}
        self._due: dict[
            trail.Group, float
        ] = {}  # those that have grown since they were told, and when they can be again
        self._told_at: dict[trail.Group, float] = {}
        self._processes: OrderedDict[str, tuple[str, str | None, str, int, int, int, int]] = OrderedDict()
        self._known: Any = None  # the same as a table, as long as it has not changed
        self.events = self.alerts = 0

    def remember(self, journal: TolerantJournal) -> None:
        """What was told before: it is not told again."""
        since_ns = time.time_ns() - REMEMBERED_DAYS * _DAY_NS
        found = journal.events(EventFilter(names=trail.NAMES, since_ns=since_ns)) if journal.is_begun else ()
        self._open = {told.group: told for told in trail.fold(found, self._owners) if told.closed is None}

    def warm_up(self, journal: TolerantJournal, since_ns: int) -> None:
        """What correlations may still need of what was looked at before.

        Some of it may not have been looked at, and comes again: a rule of single events then gives its alert, a
        correlation does not count it twice, and gives it here.
        """
        if not journal.is_begun:
            return
        wanted = EventFilter(since_ns=since_ns)
        with connect(journal, wanted) as connection:
            alerts = self._engine.push(connection, f"SELECT * FROM events WHERE time_ns >= {since_ns}", since_ns)
        for told in (trail.tell(alert) for alert in alerts if alert.is_correlation):
            known = self._open.get(told.group)
            if known is None:
                self._tell(told)
            elif told.last > known.last:
                self._grow(known, replace(told, count=max(told.count - known.count, 1)))

    def send(self, events: Sequence[Event]) -> Answer:
        """Holds events against the rules."""
        self._note_closed(events)
        self.events += len(events)
        events = [event for event in events if event.event not in trail.NAMES]  # or it would tell of itself
        if not events:
            return Answer()
        for event in events:
            self._note_process(event)
        if self._known is None:
            self._known = build_processes(list(self._processes.values()))
        with open_events(events, self._known) as connection:
            begin_ns = min(event.time_ns for event in events)
            alerts = self._engine.push(connection, "SELECT * FROM events", begin_ns)
        for told in map(trail.tell, alerts):
            known = self._open.get(told.group)
            if known is None:
                self._tell(told)
            else:
                self._grow(known, told)
        self.rest()
        return Answer()

    def rest(self, is_last: bool = False) -> None:
        """Tells of alerts that have grown, if it is time to."""
        now = time.monotonic()
        for group in [group for group, at in self._due.items() if is_last or now >= at]:
            del self._due[group]
            self._write(self._open[group])

    def close(self) -> None:
        """There is nothing to close."""

    def _tell(self, told: trail.Told) -> None:
        self._open[told.group] = told
        self.alerts += 1
        self._write(told)
        self._messenger.tell(told)

    def _grow(self, known: trail.Told, told: trail.Told) -> None:
        first, last = min(known.first, told.first), max(known.last, told.last)
        grown = replace(known, count=known.count + told.count, first=first, last=last)
        self._open[known.group] = grown
        self._due.setdefault(known.group, self._told_at.get(known.group, 0.0) + AGAIN_SECONDS)

    def _write(self, told: trail.Told) -> None:
        """Raises:
        PythonAuditError: it could not be recorded.
        """
        trouble = self._record(trail.ALERT, trail.build_fields(told))
        if trouble:
            raise PythonAuditError(f"alert {told.id} ({told.title}) could not be recorded: {trouble}")
        self._told_at[told.group] = time.monotonic()

    def _note_closed(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.event == trail.CLOSED and trail.is_ours(event, self._owners):
                which = event.fields.get("alert")
                self._open = {group: told for group, told in self._open.items() if told.id != which}
                self._due = {group: at for group, at in self._due.items() if group in self._open}

    def _note_process(self, event: Event) -> None:
        process = event.process
        if process.id not in self._processes:
            begin_ns = event.decoder.segment.header.begin_realtime
            row = process.id, process.parent, process.boot, process.pid, process.ppid, process.pid_namespace
            self._processes[process.id] = *row, min(begin_ns, (1 << 63) - 1)
            self._known = None
            if len(self._processes) > _PROCESSES:
                self._processes.popitem(last=False)


def build_owners(directory: Path) -> frozenset[int]:
    """Users whose word on alerts of a directory counts: its owner, and root."""
    return frozenset({0, directory.stat().st_uid})
