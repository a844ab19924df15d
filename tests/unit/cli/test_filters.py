"""Options to filters."""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pythonaudit.cli import Parser, access, filters
from pythonaudit.errors import PythonAuditError, UsageError
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal
from tests.archives import archived_journal, move
from tests.journal_writer import BEGIN_NS, SegmentWriter

NOW = BEGIN_NS
MINUTE = 60_000_000_000


def parse(*words: str) -> argparse.Namespace:
    parser = Parser("pythonaudit log", "")
    filters.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], {}),
        (["--event", "*"], {"names": ("*",)}),
        (["--event", "os.*", "--event", "open"], {"names": ("os.*", "open")}),
        (["--event", "why? [x]=*"], {"names": ("why? [x]=*", "why[?] [[]x]=*")}),
        (["--category", "file", "--category", "application"], {"categories": ("file", "application")}),
        (["--source", "stdlib"], {"sources": ("stdlib",)}),
        (["--since", "15m"], {"since_ns": NOW - 15 * MINUTE}),
        (["--until", "2026-11-22T14:30:33.123456789Z"], {"until_ns": NOW}),
        (["--run", "a", "--run", "b"], {"runs": ("a", "b")}),
        (["--host", "web-*", "--host", "db"], {"hosts": ("web-*", "db")}),
        (["--process", "4F"], {"processes": ("4f",)}),
        (["--pid", "1", "--pid", "2"], {"pids": (1, 2)}),
        (["--path", "/etc/*"], {"paths": ("/etc/*",)}),
        (["--text", "x"], {"text": "x"}),
    ],
)
def test_what_options_select(words: list[str], wanted: dict[str, Any], tmp_path: Path) -> None:
    for number, run in enumerate("ab"):
        write(tmp_path, number, BEGIN_NS, run)
    selection = filters.select(Journal(tmp_path), parse(*words), NOW)
    if not wanted.keys() & {"names", "processes", "pids"}:
        wanted = wanted | {"without_names": access.EVENTS}
    assert selection == filters.Selection(EventFilter(**wanted), None)


def test_a_run_that_is_not_recorded(tmp_path: Path) -> None:
    """That nothing happened in it would be the wrong answer; but it may still come."""
    write(tmp_path, 1, BEGIN_NS, "nightly")
    with pytest.raises(UsageError, match=r"^--run: no run 'nightyl' is recorded$") as told:
        filters.select(Journal(tmp_path), parse("--run", "nightyl"), NOW)
    assert told.value.hint == "did you mean 'nightly'?"
    following = parse("--run", "nightyl")
    following.follow = True
    assert filters.select(Journal(tmp_path), following, NOW).wanted.runs == ("nightyl",)


def test_where_is_kept_apart(tmp_path: Path) -> None:
    selection = filters.select(Journal(tmp_path), parse("--where", "pid = 1"), NOW)
    assert selection == filters.Selection(EventFilter(without_names=access.EVENTS), "pid = 1")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--since", "2y"], r"^--since: '2y' is no moment"),
        (["--until", "x"], r"^--until: 'x' is no moment"),
        (["--category", "files"], r"^argument --category: invalid choice: 'files'"),
        (["--source", "me"], r"^argument --source: invalid choice: 'me'"),
        (["--process", "0x4f"], r"^argument --process: '0x4f' is no beginning of a process id"),
        (["--process", "0" * 33], r"^argument --process: .* is no beginning of a process id"),
        (["--process", ""], r"^argument --process: '' is no beginning of a process id"),
        (["--pid", "one"], r"^argument --pid: 'one': it takes the number of a process"),
        (["--ev", "open"], r"^unrecognized arguments: --ev open"),
    ],
)
def test_wrong_options(words: list[str], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=complaint):
        filters.select(Journal(tmp_path), parse(*words), NOW)


@given(st.text())
def test_every_name_selects_itself(name: str) -> None:
    (selected,) = [filters.select(Journal("/nowhere"), parse(f"--event={name}"), NOW).wanted.names]
    assert any(fnmatchcase(name, glob) for glob in selected)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("10", 10)])
def test_count(text: str, number: int) -> None:
    assert filters.count(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1.5", "ten", "\u0661"])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r": it takes a whole number from 0 on, such as 10$"):
        filters.count(text)


def write(directory: Path, number: int, begin_ns: int, run: str | None, sequence: int = 0) -> None:
    attributes = {"run": run} if run else {}
    SegmentWriter(process=bytes([number]) * 16, begin_ns=begin_ns, sequence=sequence, attributes=attributes).save(
        directory
    )


def test_the_last_run_is_the_one_that_began_last(tmp_path: Path) -> None:
    write(tmp_path, 1, BEGIN_NS, "long")
    write(tmp_path, 2, BEGIN_NS + MINUTE, "short")
    write(tmp_path, 3, BEGIN_NS + 2 * MINUTE, "long")  # a child of the first
    write(tmp_path, 1, BEGIN_NS + 3 * MINUTE, "long", sequence=1)
    write(tmp_path, 4, BEGIN_NS + 4 * MINUTE, None)
    assert filters.last_run(Journal(tmp_path)) == "short"
    assert filters.find_runs(Journal(tmp_path)) == ["long", "short"]
    assert move(tmp_path).segments == 5
    write(tmp_path, 5, BEGIN_NS + 5 * MINUTE, "long")
    write(tmp_path, 6, BEGIN_NS + MINUTE, "as short")
    assert filters.find_runs(archived_journal(tmp_path)) == ["long", "as short", "short"]


def test_no_run_at_all(tmp_path: Path) -> None:
    write(tmp_path, 1, BEGIN_NS, None)
    with pytest.raises(PythonAuditError, match=f"^no run is recorded in {tmp_path}$") as raised:
        filters.last_run(Journal(tmp_path))
    assert raised.value.exit_status == 3
