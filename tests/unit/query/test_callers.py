"""The tree of the selected events: the same from the journal and from the archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pythonaudit.errors import UsageError
from pythonaudit.journal.filters import EventFilter
from pythonaudit.query.callers import BY, read_tree
from pythonaudit.query.connection import Connection
from pythonaudit.query.flame import Frame
from pythonaudit.query.where import build_query
from tests import stores
from tests.journal_writer import SegmentWriter

TRUNCATED = 1 << 6
JSON = "/usr/lib/python3.11/json/__init__.py"
MAIN, OTHER_LINE = ("/srv/app.py", 12, "main"), ("/srv/app.py", 99, "main")


@pytest.fixture(scope="module", params=stores.KINDS)
def views(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """Two processes, the stacks of which have other numbers in each."""
    writers = []
    for number in range(2):
        writer = SegmentWriter(process=bytes([number]) * 16, pid=number)
        thread = writer.thread()
        for _ in range(number):
            thread.event("first", stack=[("<string>", 1, "f"), ("<frozen runpy>", 1, "run")])
        thread.event("open", ["/x", "r", 0], stack=[MAIN])
        thread.event("open", ["/x", "r", 0], stack=[OTHER_LINE])
        load = [(JSON, 293, "load"), (JSON, 1, "load"), ("/srv/lib/a.py", 1, "b"), ("/srv/lib/c.py", 2, "b"), MAIN]
        thread.event("open", ["/y", "r", 0], stack=load)
        thread.event("import", stack=load)
        thread.event("deep", stack=[MAIN], notes=TRUNCATED)
        thread.event(f"sign-in: user={number}")
        writers.append(writer)
    with stores.open_views(stores.save(tmp_path_factory.mktemp("store"), writers, request.param)) as connection:
        yield connection


def stacks(views: Connection, by: str, where: str | None = None) -> dict[str, int]:
    tree = read_tree(views, build_query(EventFilter(), where), by)
    return {
        ";".join(_label(tree.frames[number]) for number in path): count
        for path, count in tree.stacks(tree.by_name())
    }


def _label(frame: Frame) -> str:
    return f"{frame.name}@{frame.file}" if frame.file else frame.name


APP, LIB = "main@/srv/app.py", f"b@/srv/lib/c.py;b@/srv/lib/a.py;load@{JSON};load@{JSON}"


def test_by_function(views: Connection) -> None:
    """Lines are put together; recursion is not."""
    assert stacks(views, "function") == {
        APP: 4,
        f"{APP};{LIB}": 4,
        f"[truncated];{APP}": 2,
        "run@<frozen runpy>;f@<string>": 1,
        "[no stack]": 2,
    }


def test_by_event(views: Connection) -> None:
    """Events of one template are one."""
    assert stacks(views, "event") == {
        f"{APP};open": 4,
        f"{APP};{LIB};open": 2,
        f"{APP};{LIB};import": 2,
        f"[truncated];{APP};deep": 2,
        "run@<frozen runpy>;f@<string>;first": 1,
        "[no stack];sign-in: user=*": 2,
    }


def test_by_package(views: Connection) -> None:
    """Where no package is known, the directory; frames of one package that follow each other are one."""
    assert stacks(views, "package") == {
        "/srv": 4,
        "/srv;/srv/lib;[stdlib]": 4,
        "[truncated];/srv": 2,
        "[stdlib];<string>": 1,
        "[no stack]": 2,
    }


def test_kinds(views: Connection) -> None:
    tree = read_tree(views, build_query(EventFilter(), None), "event")
    kinds = {(frame.kind, frame.name) for frame in tree.frames}
    assert {("code", "main"), ("library", "load"), ("library", "run"), ("event", "open")} <= kinds
    assert {("note", "[truncated]"), ("note", "[no stack]")} <= kinds


@pytest.mark.parametrize("by", BY)
def test_only_what_is_selected(views: Connection, by: str) -> None:
    assert sum(stacks(views, by, "event = 'open' AND pid = 1").values()) == 3
    assert stacks(views, by, "event = 'nothing like it'") == {}
    tree = read_tree(views, build_query(EventFilter(names=("deep",)), None), by)
    assert {frame.name for frame in tree.frames} <= {"[truncated]", "main", "/srv", "deep"}


def test_a_condition_that_cannot_be_computed(views: Connection) -> None:
    with pytest.raises(UsageError):
        stacks(views, "function", "event::INTEGER = 7")


def test_a_package_that_is_known(tmp_path: Path) -> None:
    """The view tells it; here one that is made for the purpose."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE events (batch VARCHAR, stack_id BIGINT, notes VARCHAR[])")
        connection.execute("INSERT INTO events VALUES ('b', 3, NULL), ('b', 3, ['masked']), ('gone', 1, NULL)")
        connection.execute("INSERT INTO events VALUES ('b', 4, NULL), ('b', 77, NULL)")
        connection.execute(
            "CREATE TABLE stacks (batch VARCHAR, stack_id BIGINT, parent_id BIGINT, file VARCHAR, function VARCHAR,"
            " library BOOLEAN, package VARCHAR)"
        )
        site = "/srv/site-packages"
        rows = [
            ("b", 1, None, "/srv/app.py", "main", False, None),
            ("b", 2, 1, f"{site}/requests/api.py", "get", False, "requests"),
            ("b", 3, 2, f"{site}/requests/adapters/http.py", "send", False, "requests"),
            ("b", 4, 4, None, None, None, None),  # its own caller
        ]
        connection.executemany("INSERT INTO stacks VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        query = "SELECT * FROM events"
        assert stacks_of(connection, query) == {"/srv;requests": 2, "?": 1, "[unreadable]": 2}


def stacks_of(connection: Connection, query: str) -> dict[str, int]:
    tree = read_tree(connection, query, "package")
    return {";".join(tree.frames[n].name for n in path): count for path, count in tree.stacks(tree.by_name())}
