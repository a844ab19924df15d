"""How often what happened: the counting behind `stats`.

Recorded events are counted as they match the selection. Of events that were counted instead of recorded there
is a number for the whole life of a process and nothing else: they are in where process, name and source match
and the process lived in the span asked for, and out where arguments, context or packages are asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from pythonaudit.journal import layout
from pythonaudit.journal.decode import Name
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.survey import Counted, Loss, Survey, Trail
from pythonaudit.query.connection import Connection
from pythonaudit.query.results import Result


class Label(NamedTuple):
    """What events are counted by.

    Attributes:
        text: the event's name, or the template of a free-form one.
        is_template: which of the two.
        category: of the catalog, or "application".
        source: interpreter, stdlib or application.
    """

    text: str
    is_template: bool
    category: str
    source: str


@dataclass(slots=True)
class Tally:
    """How often, and when the recorded ones happened (nanoseconds since 1970)."""

    recorded: int = 0
    counted: int = 0
    first_ns: int | None = None
    last_ns: int | None = None

    @property
    def total(self) -> int:
        """Recorded or counted."""
        return self.recorded + self.counted

    def add(self, other: Tally) -> None:
        """Takes in what another one counted."""
        self.recorded += other.recorded
        self.counted += other.counted
        if other.first_ns is not None and other.last_ns is not None:
            self.first_ns = min(self.first_ns or other.first_ns, other.first_ns)
            self.last_ns = max(self.last_ns or other.last_ns, other.last_ns)


@dataclass(slots=True)
class Stats:
    """What a selection holds.

    Attributes:
        labels: by name or template, and source.
        processes: by id.
        trails: the processes, oldest first.
        losses: what was not recorded, or cannot be read.
        readers: those of them that only read what is recorded, where that is left out of the rest.
    """

    labels: dict[Label, Tally]
    processes: dict[str, Tally]
    trails: list[Trail]
    losses: list[Loss]
    readers: list[Trail] = field(default_factory=list)

    def by(self, key: Callable[[Label], str]) -> dict[str, Tally]:
        """The tallies put together by something that labels have in common."""
        found: dict[str, Tally] = defaultdict(Tally)
        for label, tally in self.labels.items():
            found[key(label)].add(tally)
        return found

    def total(self) -> Tally:
        """All together."""
        return self.by(lambda label: "")[""]

    def lost(self, process: str) -> int:
        """How many events a process lost; what it lost otherwise is among `losses`."""
        mine = (loss for loss in self.losses if loss.process == process)
        return sum(loss.count for loss in mine if loss.reason in layout.EVENT_LOSSES)


# What `stats --by` counts by: an expression over columns of the view `events`.
KEYS = {
    "event": "event",
    "template": "coalesce(template, event)",
    "category": "category",
    "source": "source",
    "package": "package || coalesce(' ' || version, '')",
    "process": "process",
    "file": "file",
    "host": "host",
    "user": '"user"',
    "hour": "strftime(time, '%Y-%m-%dT%H:00Z')",
}


def take_stats(connection: Connection, selected: str, survey: Survey, wanted: EventFilter, all_of: bool) -> Stats:
    """Counts the selected events.

    Args:
        connection: one of `connection.connect`.
        selected: a SELECT of them.
        survey: all that is known of processes.
        wanted: the filter that they passed.
        all_of: they are all that passed it: no condition on arguments stands beside it.
    """
    labels: dict[Label, Tally] = defaultdict(Tally)
    processes: dict[str, Tally] = defaultdict(Tally)
    by = "coalesce(template, event) AS text, template IS NOT NULL AS is_template, category, coalesce(source, '') AS source"
    for *key, tally in _tallies(connection, by, 4, selected):
        labels[Label(*key)] = tally
    for process, tally in _tallies(connection, "process", 1, selected):
        processes[process] = tally
    trails = [trail for trail in survey.trails if _is_in(trail, wanted)]
    known = {trail.process.id for trail in trails}
    for label, counted in _counted(survey, wanted, known, all_of):
        labels[label].counted += counted.count
        processes[counted.process.id].counted += counted.count
    losses = [loss for loss in survey.losses if loss.process is None or loss.process in known]
    return Stats(labels, processes, trails, losses)


def take_tallies(
    by: str, connection: Connection, selected: str, survey: Survey, wanted: EventFilter, all_of: bool
) -> dict[str | None, Tally]:
    """Counts the selected events by one of `KEYS`; what has no such thing under None.

    Args: as `take_stats`. Of what was counted instead of recorded, package, file and hour are not known.
    """
    found: dict[str | None, Tally] = defaultdict(Tally)
    for key, tally in _tallies(connection, f"{KEYS[by]} AS key", 1, selected):
        found[key] = tally
    trails = {trail.process.id for trail in survey.trails if _is_in(trail, wanted)}
    for label, counted in _counted(survey, wanted, trails, all_of):
        known = {
            "event": counted.event,
            "template": label.text,
            "category": label.category,
            "source": label.source,
            "process": counted.process.id,
            "host": counted.process.host,
            "user": counted.process.user,
        }
        if by in known:
            found[known[by]].counted += counted.count
    return found


def _tallies(connection: Connection, by: str, columns: int, selected: str) -> Iterator[list[Any]]:
    """What is counted by, and the tally, of each group."""
    groups = ", ".join(map(str, range(1, columns + 1)))
    query = f"SELECT {by}, count(*), min(time_ns), max(time_ns) FROM ({selected}) AS events GROUP BY {groups}"
    for *key, count, first, last in Result(connection, query, "--where").rows():
        yield [*key, Tally(count, 0, first, last)]


def _counted(
    survey: Survey, wanted: EventFilter, processes: set[str], all_of: bool
) -> Iterator[tuple[Label, Counted]]:
    """What was counted instead of recorded, of some processes, as far as it is wanted."""
    if wanted.asks_of_details or not all_of:
        return
    for counted in survey.counts:
        name = Name(counted.event)
        if counted.process.id in processes and _is_wanted(counted, name.category, wanted):
            template = name.template
            yield Label(template or name.text, template is not None, name.category, counted.source), counted


def _is_in(trail: Trail, wanted: EventFilter) -> bool:
    return (
        wanted.wants_process(trail.process)
        and (wanted.until_ns is None or trail.begin_ns < wanted.until_ns)
        and (wanted.since_ns is None or trail.end_ns >= wanted.since_ns)
    )


def _is_wanted(counted: Counted, category: str, wanted: EventFilter) -> bool:
    return (
        (not wanted.names or any(fnmatchcase(counted.event, glob) for glob in wanted.names))
        and (not wanted.categories or category in wanted.categories)
        and (not wanted.sources or counted.source in wanted.sources)
    )
