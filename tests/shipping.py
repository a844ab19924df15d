"""A target of a test's own, that does what the test says, and shipping to it in this process.

taker = Taker(most=10)
ship(directory, taker)              # once
taker.ids                           # of the events that it has acknowledged, in their order
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from pythonaudit.export.cursor import Cursor
from pythonaudit.export.feed import Feed
from pythonaudit.export.shipping import Shipping
from pythonaudit.export.targets import Answer
from pythonaudit.journal.decode import Event
from pythonaudit.journal.filters import EventFilter
from tests.archives import archived_journal

EVERYTHING = EventFilter()
CURSOR = "export/test.cursor"

#: Called with each batch before it is taken; raises what the target is to raise.
Meddle = Callable[[Sequence[Event]], Answer | None]


class Taker:
    """Takes events, unless it is told otherwise."""

    def __init__(self, most: int = 1000, meddle: Meddle = lambda events: None) -> None:
        self.most = most
        self.meddle = meddle
        self.ids: list[str] = []
        self.lines: list[bytes] = []
        self.sizes: list[int] = []

    def send(self, events: Sequence[Event]) -> Answer:
        assert 0 < len(events) <= self.most
        self.sizes.append(len(events))
        answer = self.meddle(events)
        self.ids += [event.id for event in events]
        self.lines += [event.to_json() for event in events]
        return answer or Answer()

    def close(self) -> None:
        """There is nothing to close."""


@contextmanager
def shipping(
    directory: Path,
    taker: Taker,
    wanted: EventFilter = EVERYTHING,
    tell: Callable[[str], None] = lambda text: None,
    wait: Callable[[float], bool] = lambda seconds: False,
    patience: float | None = 0.0,
) -> Iterator[tuple[Shipping, Cursor]]:
    """Shipping to it; what is acknowledged is noted in the directory."""
    journal = archived_journal(directory)
    archived = journal.archived
    assert archived is not None
    with (
        closing(Cursor(directory / CURSOR, "test")) as cursor,
        closing(Feed(journal, archived, wanted, cursor)) as feed,  # type: ignore[arg-type]
    ):
        yield Shipping(feed, taker, cursor, tell, wait, patience), cursor


def ship(directory: Path, taker: Taker, wanted: EventFilter = EVERYTHING) -> dict[str, int]:
    """Ships what is there, once; what was counted by now."""
    with shipping(directory, taker, wanted) as (one, cursor):
        one.ship_backlog()
        return dict(cursor.counts)


def threads_in_order(ids: Sequence[str]) -> bool:
    """Whether the events of each thread come in their order, each once."""
    last: dict[str, int] = {}
    for one in ids:
        thread, _, number = one.rpartition("/")
        if int(number) <= last.get(thread, -1):
            return False
        last[thread] = int(number)
    return True
