"""Filters in SQL select what the same filters select of events."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.layout import SOURCE_APPLICATION, SOURCE_STDLIB
from pythonaudit.query.connection import Connection
from pythonaudit.query.where import build_query, translate
from tests import stores
from tests.archives import archived_journal
from tests.journal_writer import BEGIN_NS, SegmentWriter

FIRST, SECOND = b"\xab" * 16, b"\xac" * 16


def segments() -> list[SegmentWriter]:
    one = SegmentWriter(process=FIRST, pid=7, attributes={"python": "3.11.7", "cwd": "/srv", "run": "it's"})
    thread = one.thread()
    for path in ("/etc/passwd", "../etc/passwd", "data/./x", "/srv//data/x", {"$bytes": "/etc/passwd"}, 3, ""):
        one.ticks += 1_000_001
        thread.event("open", [path, "r", 0], stack=[("/srv/a.py", 1, "f")])
    thread.event("os.rename", ["data/x", "/etc/new", -1, -1])
    thread.event("shutil.rmtree", ["/srv/data"], source=SOURCE_STDLIB)
    thread.event("shutil.make_archive", ["out", "zip", "/srv/root", "inside"], source=SOURCE_STDLIB)
    thread.event("subprocess.Popen", ["/bin/ls", ["ls"], {"$bytes": "work"}, None], source=SOURCE_STDLIB)
    thread.event("_posixsubprocess.fork_exec", [["/opt/bin/ls", {"$bytes": "/bin/ls"}], ["ls"], None])
    thread.event("backup", [{"path": ["first", "/second"]}], source=SOURCE_APPLICATION)
    thread.context({"user": "johndoe", "n": 1, "no'ne": None})
    thread.event("within", [1], source=SOURCE_APPLICATION)
    other = SegmentWriter(process=SECOND, pid=8, attributes={"python": "3.12.1"})
    thread = other.thread()
    for name in ("login: user=x", "50% done", "odd [name]?", "quote ' and \\ and \"", "line\nbreak"):
        other.ticks += 1_000_003
        thread.event(name, [{"path": "/etc/shadow", "note": 'say "hi"'}], source=SOURCE_APPLICATION, inline=True)
    thread.event("socket.connect", [{"$type": "socket.socket"}, ["10.0.0.1", 443]])
    return [one, other]


@pytest.fixture(scope="module", params=stores.KINDS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stores.save(tmp_path_factory.mktemp("store"), segments(), request.param)


@pytest.fixture(scope="module")
def views(store: Path) -> Iterator[Connection]:
    with stores.open_views(store) as connection:
        yield connection


FILTERS = [
    EventFilter(),
    EventFilter(names=("open",)),
    EventFilter(names=("os.*", "shutil.*")),
    EventFilter(names=("odd [[]name]?",)),
    EventFilter(names=("*'*",)),
    EventFilter(names=("line*break",)),
    EventFilter(names=("50%*",)),
    EventFilter(without_names=("open", "within", "50% done", "quote ' and \\ and \"", "not there")),
    EventFilter(without_names=("open",), names=("o*",)),
    EventFilter(without=FIRST.hex()),
    EventFilter(categories=("file", "network")),
    EventFilter(sources=("stdlib", "application")),
    EventFilter(since_ns=BEGIN_NS + 2_000_002),
    EventFilter(until_ns=BEGIN_NS + 2_000_002),
    EventFilter(since_ns=BEGIN_NS + 1_000_001, until_ns=BEGIN_NS + 1_000_002),
    EventFilter(runs=("it's",)),
    EventFilter(processes=("ab",)),
    EventFilter(processes=("aba", "ad")),
    EventFilter(pids=(8, 9)),
    EventFilter(paths=("/etc/passwd",)),
    EventFilter(paths=("/etc/*",)),
    EventFilter(paths=("/srv/data/x",)),
    EventFilter(paths=("data/*", "/etc/new")),
    EventFilter(paths=("*[!a-w]",)),
    *(EventFilter(paths=(path,)) for path in ("inside", "/srv/inside", "work", "/srv/work", "/bin/ls")),
    *(EventFilter(paths=(path,)) for path in ("/srv/root", "/opt/bin/ls", "/srv/first", "/second")),
    EventFilter(contexts=(("user", "john*"),)),
    EventFilter(contexts=(("user", "*"), ("n", "1"))),
    EventFilter(contexts=(("no'ne", "null"),)),
    EventFilter(text="PASSWD"),
    EventFilter(text="connect"),
    EventFilter(without=FIRST.hex()),
    EventFilter(names=("open",), paths=("/etc/*",), pids=(7,)),
]


@pytest.mark.parametrize("wanted", FILTERS, ids=repr)
def test_both_select_the_same(store: Path, views: Connection, wanted: EventFilter) -> None:
    found = views.execute(f"SELECT id FROM ({build_query(wanted, None)})").fetchall()
    expected = [event.id for event in archived_journal(store).events(wanted)]
    assert sorted(row[0] for row in found) == sorted(expected)
    assert wanted == EventFilter() or len(expected) < len(list(archived_journal(store).events()))


def test_a_text_is_no_sql(views: Connection) -> None:
    for text in ("' OR true --", "'); DROP VIEW events; --", "\\' OR 1=1", "%", "_"):
        for wanted in (EventFilter(text=text), EventFilter(runs=(text,)), EventFilter(names=(text,))):
            found = views.execute(f"SELECT event FROM ({build_query(wanted, None)})").fetchall()
            assert all(text in name for (name,) in found)


@given(
    st.text(st.sampled_from("ab*?[]!-^.\\{}()+|$ /\nß"), max_size=8),
    st.text(st.sampled_from("ab[]!-^.\\{}()+|$ /\nß"), max_size=6),
)
def test_globs_mean_the_same_in_re2(glob: str, text: str) -> None:
    try:
        expected = re.fullmatch(fnmatch.translate(glob), text) is not None
        (found,) = duckdb.execute("SELECT regexp_full_match(?, ?, 's')", [text, translate(glob)]).fetchone() or ()
    except (re.error, duckdb.InvalidInputException):
        # A range that runs backwards, such as [b-a]: never in one of the two, an error in the other.
        assert re.search(r"\[.*-.*", glob, re.DOTALL)
        return
    if re.search(r"\[[^]]*-", glob):
        return  # what a hyphen at an end of a range means differs between versions of Python
    assert found == expected
