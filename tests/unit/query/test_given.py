"""A condition that is asked while the journal is read selects what the view selects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.errors import UsageError
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal
from pythonaudit.query.connection import connect
from pythonaudit.query.given import Given
from pythonaudit.query.results import Result
from pythonaudit.query.where import build_query
from tests import stores
from tests.archives import archived_journal
from tests.journal_writer import SegmentWriter

EVERYTHING = EventFilter()


def writers() -> Iterator[SegmentWriter]:
    for number in range(4):
        writer = SegmentWriter(process=bytes([number]) * 16, pid=number)
        thread = writer.thread()
        thread.context({"user": f"u{number}"})
        for line in range(20):
            writer.ticks += 1
            thread.event("open", [f"data/{line}", "r", 0], stack=[("/srv/app.py", line + 1, f"f{number}")])
            thread.event(f"order={line}", [line])
        yield writer


@pytest.fixture(scope="module", params=stores.KINDS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stores.save(tmp_path_factory.mktemp("store"), writers(), request.param)


CONDITIONS = [
    (EVERYTHING, "pid IN (1, 3) AND path = 'data/7'", 2),
    (EVERYTHING, "events.full_path LIKE '%/data/1_'", 40),
    (EVERYTHING, "stack ->> '$[0].function' = 'f2' AND (fields ->> 'path') = 'data/3'", 1),
    (EVERYTHING, "context ->> 'user' = 'u1' -- a comment", 40),
    (EVERYTHING, "NULL", 0),
    (EVERYTHING, "1", 160),
    (EVERYTHING, "time_ns = (SELECT max(time_ns) FROM events) AND pid > 1", 4),
    (EVERYTHING, "process IN (SELECT process FROM processes WHERE pid > 1)", 80),
    (EventFilter(names=("order=*",)), "(args ->> 0)::INT > 15", 16),
    (EventFilter(pids=(2,), paths=("*/1?",)), "number > 30", 4),
]


@pytest.mark.parametrize(("wanted", "where", "count"), CONDITIONS)
def test_what_holds_is_what_the_view_says(store: Path, wanted: EventFilter, where: str, count: int) -> None:
    with connect(archived_journal(store)) as connection:
        rows = Result(connection, f"SELECT id FROM ({build_query(wanted, where)})").rows()
        expected = {id_ for (id_,) in rows}
    journal = archived_journal(store)
    exact = replace(wanted, condition=Given(journal, wanted).condition(where))
    every = [event.id for event in journal.events(wanted)]
    found = [event.id for event in journal.events(exact)]
    assert len(found) == count and set(found) == expected
    assert found == [id_ for id_ in every if id_ in expected]  # in the same order
    assert [event.id for event in journal.tail(3, exact)] == found[-3:]


def test_segments_that_move_or_come_while_they_are_read_have_their_stacks(tmp_path: Path) -> None:
    first, second = list(writers())[:2]
    first.save(tmp_path)
    journal = archived_journal(tmp_path)
    condition = Given(journal, EVERYTHING).condition("stack ->> '$[0].function' IN ('f0', 'f1')")
    ingest(Journal(tmp_path), Archive(tmp_path))
    second.save(tmp_path)
    assert len(list(journal.events(EventFilter(condition=condition)))) == 40


def test_what_makes_no_sense_of_a_value_is_one_line(store: Path) -> None:
    journal = archived_journal(store)
    condition = Given(journal, EVERYTHING).condition("(args ->> 0)::INT > 15")
    with pytest.raises(UsageError, match=r"^--where: Could not convert string 'data/\d+' to INT32"):
        list(journal.events(EventFilter(condition=condition)))
