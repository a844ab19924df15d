"""Conditions in SQL: what they see, and what they cannot reach."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from pythonaudit.errors import UsageError
from pythonaudit.journal.filters import EventFilter
from pythonaudit.query.connection import Connection, check_condition, connect
from pythonaudit.query.results import Result
from pythonaudit.query.where import build_query
from tests import stores
from tests.archives import archived_journal
from tests.journal_writer import BEGIN_NS, SegmentWriter


@pytest.fixture(scope="module", params=stores.KINDS)
def events(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    writers = []
    for number in range(2):
        writer = SegmentWriter(process=bytes([number]) * 16, pid=number)
        thread = writer.thread()
        thread.event("open", ["/etc/passwd", "r", 0], stack=[("/srv/app.py", 12, "main")])
        writer.ticks += 1
        thread.event("sign-in: user=johndoe", notes=2)
        writers.append(writer)
    with stores.open_views(stores.save(tmp_path_factory.mktemp("store"), writers, request.param)) as connection:
        yield connection


def select_ids(events: Connection, where: str) -> set[str]:
    check_condition(events, where)
    query = f"SELECT id FROM ({build_query(EventFilter(), where)})"
    return {row[0] for row in Result(events, query, "--where").rows()}


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("true", 4),
        ("false", 0),
        ("NULL", 0),
        ("event = 'open'", 2),
        ("event LIKE 'sign-in%' AND pid = 1", 1),
        ("(args->>'$[0]') = '/etc/passwd'", 2),
        ("(fields->>'user') = 'johndoe'", 2),
        ("template = 'sign-in: user=*'", 2),
        ("list_contains(notes, 'masked')", 2),
        ("(stack->>'$[0].function') = 'main'", 2),
        ("time >= '2026-11-22' AND time < '2026-11-23 00:00:00+00'", 4),
        ("time > now() - INTERVAL 1 DAY AND time < now() - INTERVAL 2 DAY", 0),
        (f"time_ns = {BEGIN_NS}", 2),
        (f"time_ns = {BEGIN_NS + 1}", 2),
        ("time = (SELECT max(time) FROM events) AND pid = 0", 2),
        ("category = 'file' OR source IS NULL -- a comment", 2),
        ("id IN (SELECT id FROM events ORDER BY id LIMIT 3)", 3),
    ],
)
def test_conditions(events: Connection, where: str, count: int) -> None:
    assert len(select_ids(events, where)) == count


def test_ids_are_those_of_the_events(events: Connection) -> None:
    expected = {f"{'0' + str(number):s}" * 16 + f"/1/{at}" for number in range(2) for at in range(2)}
    assert select_ids(events, "true") == expected


@pytest.mark.parametrize(
    "where",
    [
        "",
        "event =",
        "event",
        "evnt = 'open'",
        "1; SELECT 2",
        "true); DROP VIEW events; SELECT (1",
        "event IN (SELECT content FROM read_text('/etc/passwd'))",
        "event IN (SELECT * FROM '/etc/passwd.csv')",
        "event IN (SELECT * FROM events_elsewhere)",
        "event IN (SELECT * FROM glob('/etc/*'))",
        "event = getenv('HOME')",
        "/* never closed",
        "sqrt('x') > 1",
    ],
)
def test_what_is_no_condition_or_reaches_out(events: Connection, where: str) -> None:
    with pytest.raises(UsageError, match=r"^--where") as raised:
        select_ids(events, where)
    assert "\n" not in str(raised.value)
    assert len("--where: ") < len(str(raised.value)) < 200


def test_no_variable_of_python_is_visible(events: Connection) -> None:
    hidden = pa.table({"id": ["x"]})
    with pytest.raises(UsageError, match="hidden does not exist"):
        select_ids(events, f"id IN (SELECT id FROM hidden) OR {len(hidden)} = 1")


def test_nothing_can_be_written(events: Connection, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    for statement in (f"COPY events TO '{target}'", f"ATTACH '{target}'", f"EXPORT DATABASE '{target}'"):
        with pytest.raises(UsageError):
            select_ids(events, f"true); {statement}; SELECT (true")
    assert not target.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")
def test_a_segment_that_another_user_calls_the_same_keeps_its_stacks(tmp_path: Path) -> None:
    for uid, function in ((12345, "theirs"), (0, "ours")):
        writer = SegmentWriter()
        writer.thread().event("open", ["/x", "r", 0], stack=[("app.py", 1, function)])
        path = writer.save(tmp_path)
        if uid:
            box = path.parent.with_name(f"u{uid}")
            box.mkdir()
            path = path.rename(box / path.name)
            for one in (box, path):
                os.chown(one, uid, uid)
    with stores.open_views(tmp_path) as connection:
        rows = connection.execute("SELECT uid, function, stack ->> '$[0].function' FROM events").fetchall()
    assert sorted(rows) == [(0, "ours", "ours"), (12345, "theirs", "theirs")]


@pytest.mark.parametrize("kind", stores.KINDS)
def test_a_process_that_is_left_out_is_in_no_view(kind: str, tmp_path: Path) -> None:
    writers = []
    for number in range(2):
        writer = SegmentWriter(process=bytes([number]) * 16, pid=number)
        writer.thread().event("open", ["/etc/passwd", "r", 0], stack=[("/srv/app.py", 12, "main")])
        writers.append(writer)
    stores.save(tmp_path, writers, kind)
    for number in range(2):
        wanted = EventFilter(without=(bytes([1 - number]) * 16).hex())
        with connect(archived_journal(tmp_path), wanted) as connection:
            for view in ("events", "processes", "segments"):
                (row,) = Result(connection, f"SELECT process FROM {view}").rows()
                assert row == [(bytes([number]) * 16).hex()]
