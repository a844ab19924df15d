"""Who did what: acts, and what a pattern is held against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pythonaudit import catalog
from pythonaudit.journal.filters import EventFilter
from pythonaudit.query.connection import Connection
from pythonaudit.query.results import Result
from pythonaudit.query.where import build_query as select
from pythonaudit.query.who import ACTS, build_query
from tests import stores
from tests.journal_writer import SegmentWriter

SOCKET = {"$type": "socket.socket"}
CODE = {"$code": {"file": "<string>", "name": "<module>", "line": 1}}
# Event, arguments; each is raised on a line of its own.
EVENTS = [
    ("open", ["/etc/passwd", "r", 524288]),
    ("open", ["notes.txt", "w", 524865]),
    ("open", ["/var/log/x", None, 0o2001]),
    ("open", ["/var/log/y", None, 0o2000000]),
    ("os.rename", ["/a", "/b", -1, -1]),
    ("import", ["requests.sessions", "/site/requests/sessions.py", None, None, None]),
    ("subprocess.Popen", ["/usr/bin/git", ["git", "push", "origin"], None, None]),
    ("os.system", [{"$bytes": "curl -s http://x"}]),
    ("socket.connect", [SOCKET, ["10.0.0.1", 443]]),
    ("socket.connect", [SOCKET, "/run/docker.sock"]),
    ("urllib.Request", ["https://user@example.com:8443/x?y", None, {}, "GET"]),
    ("socket.getaddrinfo", ["example.com", 443, 0, 1, 0]),
    ("pickle.find_class", ["os", "system"]),
    ("exec", [CODE]),
    ("compile", [{"$length": 5}, "<string>"]),
    ("os.listdir", ["/etc"]),
]
LINE = dict(enumerate(EVENTS, 1))


@pytest.fixture(scope="module", params=stores.KINDS)
def views(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    writers = []
    for half in (0, 1):
        writer = SegmentWriter(process=bytes([half + 1]) * 16, attributes={"python": "3.11.7", "cwd": "/srv"})
        thread = writer.thread()
        for line, (name, args) in LINE.items():
            writer.ticks += 1000
            thread.event(name, args, stack=[("/srv/app.py", line, "main")])
        writers.append(writer)
    with stores.open_views(stores.save(tmp_path_factory.mktemp("store"), writers, request.param)) as connection:
        yield connection


@pytest.mark.parametrize(
    ("act", "pattern", "lines"),
    [
        ("opens", "/etc/*", [1]),
        ("opens", "*", [1, 2, 3, 4]),
        ("opens", "/srv/notes.txt", [2]),
        ("opens", "notes.txt", [2]),
        ("writes", "*", [2, 3, 5]),
        ("writes", "/b", [5]),
        ("writes", "/etc/*", []),
        ("imports", "requests.*", [6]),
        ("imports", "requests", []),
        ("runs", "git", [7]),
        ("runs", "git push*", [7]),
        ("runs", "/usr/bin/git", [7]),
        ("runs", "curl", [8]),
        ("runs", "gi", []),
        ("connects", "10.0.0.1", [9]),
        ("connects", "10.0.0.1:443", [9]),
        ("connects", "/run/*", [10]),
        ("connects", "example.com", [11]),
        ("connects", "https://*", [11]),
        ("resolves", "*.com", [12]),
        ("unpickles", "os.system", [13]),
        ("unpickles", "os", [13]),
        ("evals", "<string>", [14, 15]),
        ("evals", "x", []),
    ],
)
def test_acts(views: Connection, act: str, pattern: str, lines: list[int]) -> None:
    result = Result(views, build_query(act, pattern, select(EventFilter(), None)))
    rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows()]
    assert [(row["file"], row["line"], row["count"]) for row in rows] == [("/srv/app.py", at, 2) for at in lines]
    assert all(row["example"] and row["first"] <= row["last"] for row in rows)


def test_filters_come_first(views: Connection) -> None:
    wanted = EventFilter(processes=("01",))
    result = Result(views, build_query("opens", "/etc/passwd", select(wanted, "pid > 0")))
    assert [row[2] for row in result.rows()] == [1]


def test_acts_name_known_events() -> None:
    known = catalog.events()
    # os.spawn is raised on Windows only, and by whoever looks at other platforms' recordings.
    assert [name for act in ACTS.values() for name in act.events if name not in known] == []
