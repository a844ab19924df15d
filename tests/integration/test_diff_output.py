"""`pythonaudit diff`: sides, formats, filters, statuses, and what it says to mistakes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests import commands, stores
from tests.journal_writer import BEGIN_NS, SegmentWriter

HOUR_NS = 3600 * 1_000_000_000
APP = [("/srv/shop/app.py", 3, "main")]
SOCKET = {"$type": "socket.socket"}
NASTY = "/srv/shop/a`b|<b>@all\x1b[31m\n"


def writer(number: int, run: str | None, events: list[tuple[str, list[Any]]]) -> SegmentWriter:
    """A process, begun an hour after the one before."""
    attributes = {"python": "3.11.7", "cwd": "/srv/shop", "argv": ["app.py"]} | ({"run": run} if run else {})
    made = SegmentWriter(process=bytes([number]) * 16, begin_ns=BEGIN_NS + number * HOUR_NS, attributes=attributes)
    thread = made.thread()
    for name, args in events:
        made.ticks += 1000
        thread.event(name, args, stack=APP)
    return made


COMMON: list[tuple[str, list[Any]]] = [("open", ["/etc/hosts", "r", 0]), ("import", ["json", None, [], [], []])]


def save(place: Path, kind: str) -> Path:
    connects: tuple[str, list[Any]] = ("socket.connect", [SOCKET, ["10.0.0.9", 443]])
    writers = [
        writer(0, "main", COMMON),
        writer(1, "canary", [*COMMON, connects, connects, ("open", [NASTY, "w", 0])]),
        writer(2, "same", COMMON),
        writer(3, None, [*COMMON, ("open", ["/etc/shadow", "r", 0])]),
    ]
    return stores.save(place, writers, kind)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("store"), "both")


def moment(hour: int) -> str:
    return f"2026-11-22T{14 + hour}:30:00Z"


def test_without_a_difference_it_is_quiet(directory: Path) -> None:
    done = commands.run(directory, "diff", "main", "same", "--fail")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "- main: 1 process, 2 events\n+ same: 1 process, 2 events\nno difference\n"


def test_a_table(directory: Path) -> None:
    done = commands.run(directory, "diff", "main", "canary")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "- main: 1 process, 2 events",
        "+ canary: 1 process, 5 events",
        "2 new, 0 gone",
        "",
        "the project in .",
        "  + connects  10.0.0.9:443  2x  /srv/shop/app.py:3 main",
        r"  + writes    ./a`b|<b>@all\x1b[31m\n  1x  /srv/shop/app.py:3 main",
        r"              e.g. /srv/shop/a`b|<b>@all\x1b[31m\n",
    ]
    shown = commands.show(directory, "diff", "main", "canary", columns=60)
    assert "\x1b[32m" in shown.text
    assert r"\x1b[31m" in shown.text


@pytest.mark.parametrize(
    ("before", "after", "status"), [("main", "canary", 1), ("canary", "main", 0), ("main", "same", 0)]
)
def test_it_fails_for_what_is_new_and_not_for_what_is_gone(
    directory: Path, before: str, after: str, status: int
) -> None:
    assert commands.run(directory, "diff", before, after, "--fail").returncode == status
    assert commands.run(directory, "diff", before, after).returncode == 0


@pytest.mark.parametrize("kind", ["journal", "archive"])
def test_it_reads_what_is_archived_and_what_is_not(tmp_path: Path, directory: Path, kind: str) -> None:
    words = ("diff", "main", "canary", "--format", "json")
    done = commands.run(save(tmp_path, kind), *words)
    assert (done.returncode, done.stdout) == (0, commands.run(directory, *words).stdout)


def test_json_is_one_object(directory: Path) -> None:
    said = json.loads(commands.run(directory, "diff", "main", "canary", "--format", "json").stdout)
    assert said["before"] == {"run": "main", "processes": 1, "events": 2, "lost": 0}
    assert said["new"][0] == {
        **{"change": "new", "kind": "connects", "package": ".", "what": "10.0.0.9:443", "count": 2},
        **{"file": "/srv/shop/app.py", "line": 3, "function": "main"},
        **{"example": "10.0.0.9:443", "event": f"{'01' * 16}/1/2"},
    }
    assert (said["gone"], said["versions"]) == ([], [])


def test_lines_for_programs(directory: Path) -> None:
    lines = commands.run(directory, "diff", "canary", "main", "--format", "jsonl").stdout.splitlines()
    assert [(one["change"], one["kind"]) for one in map(json.loads, lines)] == [
        ("gone", "connects"),
        ("gone", "writes"),
    ]
    text = commands.run(directory, "diff", "main", "canary", "--format", "csv").stdout
    assert next(csv.DictReader(io.StringIO(text)))["what"] == "10.0.0.9:443"


def test_markdown_is_escaped(directory: Path) -> None:
    text = commands.run(directory, "diff", "main", "canary", "--format", "markdown").stdout
    assert text.startswith("### pythonaudit: `main` → `canary`: 2 new, 0 gone\n")
    assert "- new: connects `10.0.0.9:443` 2x, `/srv/shop/app.py:3 main`\n" in text
    assert r"- new: writes ``./a`b|<b>@all\x1b[31m\n`` 1x" in text


def test_more_than_can_be_shown_is_counted(directory: Path) -> None:
    done = commands.run(directory, "diff", "same", "canary", "-n", "0")
    assert "  + connects  and 1 more\n" in done.stdout


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [
        ("last~2", "last~1", ["10.0.0.9:443", "./a`b|<b>@all\x1b[31m\n"]),
        ("last~1", "last", []),
        (f"{moment(0)}..{moment(1)}", f"{moment(3)}..", ["/etc/shadow"]),
        (f"..{moment(1)}", f"{moment(1)}..{moment(2)}", ["10.0.0.9:443", NASTY]),
        ("main", f"{moment(3)}..", ["/etc/shadow"]),
    ],
)
def test_sides(directory: Path, before: str, after: str, new: list[str]) -> None:
    done = commands.run(directory, "diff", before, after, "--format", "jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(one["what"] for one in found if one["change"] == "new") == sorted(new)


def test_filters_hold_for_both_sides(directory: Path) -> None:
    words = ("diff", "main", "canary", "--format", "jsonl", "--category", "network")
    (line,) = commands.run(directory, *words).stdout.splitlines()
    assert json.loads(line)["kind"] == "connects"
    assert commands.run(directory, "diff", "main", "canary", "--where", "port = 80", "--fail").returncode == 0
    both = commands.run(directory, "diff", f"..{moment(2)}", f"{moment(2)}..", "--run", "main", "--run", "same")
    assert "no difference" in both.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("mian", "canary"), "no run 'mian' is recorded; did you mean 'main'?"),
        (("main", "x"), "no run 'x' is recorded; runs are labels of 'pythonaudit run'; or FROM..UNTIL"),
        (("main", "last~3"), "last~3: 3 runs are recorded; record one with 'pythonaudit run -- COMMAND'"),
        (("1h..2h", "main"), "1h..2h: it ends before it begins; write the earlier moment first, as 2h..1h"),
        (("..", "main"), "no run '..' is recorded; runs are labels of 'pythonaudit run'; or FROM..UNTIL"),
        (
            ("main", "canary", "--run", "main"),
            "--run, and 'main' is a run: --run narrows down stretches of time, FROM..UNTIL",
        ),
    ],
)
def test_mistakes_are_one_line(directory: Path, words: tuple[str, ...], line: str) -> None:
    done = commands.run(directory, "diff", *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"pythonaudit: {line}\n")


def test_a_side_without_events_and_a_moment_that_is_none(directory: Path) -> None:
    done = commands.run(directory, "diff", "main", "canary", "--event", "nothing")
    said = [f"pythonaudit: no event of {side} matches" for side in ("main", "canary")]
    assert (done.returncode, done.stderr.splitlines()) == (0, said)
    done = commands.run(directory, "diff", "yesterday..", "main")
    assert done.returncode == 2
    assert done.stderr.startswith("pythonaudit: yesterday..: 'yesterday' is no moment")


def test_losses_are_told(tmp_path: Path) -> None:
    lossy = writer(1, "b", COMMON)
    lossy.losses[0] = 7
    directory = stores.save(tmp_path, [writer(0, "a", COMMON), lossy])
    done = commands.run(directory, "diff", "a", "b")
    assert "+ b: 1 process, 2 events, 7 lost\n" in done.stdout
    assert done.stderr == "pythonaudit: 7 events of b were lost, and are in no comparison\n"


def test_without_a_journal(tmp_path: Path) -> None:
    done = commands.run(tmp_path / "none", "diff", "a", "b")
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
