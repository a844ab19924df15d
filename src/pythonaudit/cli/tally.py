"""How often what happened: the counting behind `stats`, without printing.

Recorded events are counted one by one, as they match the selection. Of events that were counted instead of
recorded there is a number for the whole life of a process and no arguments: they are in where process, name
and source match and the process lived in the span asked for, and out where arguments are asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from pythonaudit.cli.filters import Selection
from pythonaudit.journal import layout
from pythonaudit.journal.decode import Name
from pythonaudit.journal.reader import Counted, Journal, Loss, Trail


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

    def record(self, time_ns: int) -> None:
        """One more recorded event; they come oldest first."""
        self.recorded += 1
        self.last_ns = time_ns
        if self.first_ns is None:
            self.first_ns = time_ns

    def add(self, other: Tally) -> None:
        """Takes in what another one counted."""
        self.recorded += other.recorded
        self.counted += other.counted
        if other.first_ns is not None and other.last_ns is not None:
            self.first_ns = min(self.first_ns or other.first_ns, other.first_ns)
            self.last_ns = max(self.last_ns or other.last_ns, other.last_ns)


@dataclass(slots=True)
class Stats:
    """What a selection of a journal holds.

    Attributes:
        labels: by name or template, and source.
        processes: by id.
        trails: the processes, oldest first.
        losses: what was not recorded, or cannot be read.
    """

    labels: dict[Label, Tally]
    processes: dict[str, Tally]
    trails: list[Trail]
    losses: list[Loss]

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


def take_stats(journal: Journal, selection: Selection) -> Stats:
    """Reads the journal twice: for the events, and for all that is known of processes.

    Raises:
        StoreError: there is no journal, or it may not be read.
    """
    labels: dict[Label, Tally] = defaultdict(Tally)
    processes: dict[str, Tally] = defaultdict(Tally)
    for event in selection.events(journal):
        template = event.template
        label = Label(template or event.event, template is not None, event.category, event.source)
        labels[label].record(event.time_ns)
        processes[event.process.id].record(event.time_ns)
    survey = journal.survey()
    trails = [trail for trail in survey.trails if _is_in(trail, selection)]
    known = {trail.process.id for trail in trails}
    for counted in survey.counts:
        name = Name(counted.event)
        if counted.process.id in known and _is_wanted(counted, name.category, selection):
            template = name.template
            label = Label(template or name.text, template is not None, name.category, counted.source)
            labels[label].counted += counted.count
            processes[counted.process.id].counted += counted.count
    losses = [loss for loss in survey.losses if loss.process is None or loss.process in known]
    return Stats(labels, processes, trails, losses)


def _is_in(trail: Trail, selection: Selection) -> bool:
    wanted = selection.wanted
    return (
        wanted.wants_process(trail.process)
        and (wanted.until_ns is None or trail.begin_ns < wanted.until_ns)
        and (wanted.since_ns is None or trail.end_ns >= wanted.since_ns)
    )


def _is_wanted(counted: Counted, category: str, selection: Selection) -> bool:
    wanted = selection.wanted
    return (
        not (wanted.paths or wanted.text or selection.where)
        and (not wanted.names or any(fnmatchcase(counted.event, glob) for glob in wanted.names))
        and (not wanted.categories or category in wanted.categories)
        and (not wanted.sources or counted.source in wanted.sources)
    )
