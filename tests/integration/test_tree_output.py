"""`pythonaudit tree` for people and programs, from journals made by the reference writer."""

from __future__ import annotations

import csv
import io
import json
import re
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from pythonaudit.journal import layout
from tests import commands
from tests.journal_writer import BEGIN_NS, SegmentWriter

MS = 1_000_000
EXE = "/usr/bin/python3.11"
STYLES = re.compile("\x1b\\[[0-9;]*m")


def save_process(
    directory: Path,
    number: int,
    pid: int,
    ppid: int,
    at_ms: int,
    argv: Sequence[str],
    spawns: Sequence[tuple[int, Sequence[str]]] = (),
    *,
    until_ms: int = 3000,
    state: int = layout.STATE_CLEAN_END,
    lost: int = 0,
    run: str = "r",
    host: str = "elsewhere",
) -> None:
    """A process that began at a time and started these commands at theirs (milliseconds since the beginning)."""
    attributes = {"python": "3.11.7", "exe": EXE, "argv": list(argv), "host": host, "run": run}
    writer = SegmentWriter(
        process=number.to_bytes(16, "big"),
        pid=pid,
        ppid=ppid,
        pid_start=at_ms // 10 + 100,
        begin_ns=BEGIN_NS + at_ms * MS,
        attributes=attributes,
    )
    thread, begin = writer.thread(), writer.ticks
    for spawned_ms, words in spawns:
        writer.ticks = begin + (spawned_ms - at_ms) * MS
        thread.event("subprocess.Popen", [words[0], list(words), None, None])
    writer.ticks = begin + (until_ms - at_ms) * MS
    thread.context({"job": number})
    code = f"{directory}/site-packages/lib{number}.py"
    thread.event("open", [f"/srv/{number}", "r", 0], stack=[(code, 1, "run")])
    writer.losses[0] = lost
    writer.save(directory, state=state)


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """app.py, which starts job.py, a Python that was not recorded, git, and a Python behind a shell."""
    directory = tmp_path_factory.mktemp("family")
    spawns = [
        (100, ["python3", "job.py", "--fast"]),
        (2000, ["python3", "-S", "gone.py"]),
        (2100, ["git", "log"]),
        (2200, ["sh", "-c", "python3 part.py | cat"]),
        (2300, ["$EDITOR"]),
    ]
    save_process(directory, 1, 10, 9, 0, ["app.py"], spawns, lost=7)
    save_process(directory, 2, 11, 10, 105, ["job.py", "--fast"], until_ms=1500, state=layout.STATE_OPEN)
    save_process(directory, 3, 13, 12, 2210, ["part.py"], until_ms=2500)
    return directory


TABLE = """\
3 recorded, 2 not-python, 1 not-recorded, 1 unexplained
2026-11-22 UTC
begin     end          python      pid   events   lost  coverage      process
14:30:33  14:30:36     3.11.7       10        6      7  recorded      python3.11 app.py  (its parent, pid 9, was not recorded)
14:30:33  ~14:30:34    3.11.7       11        1      0  recorded      ├─ python3.11 job.py --fast
14:30:35                                                not-recorded  ├─ python3 -S gone.py  (Python by its name)
14:30:35                                                not-python    ├─ git log  (by its name)
14:30:35                                                not-python    ├─ sh -c 'python3 part.py | cat'  (it started what stands below it)
14:30:35  14:30:35     3.11.7       13        1      0  recorded      │  └─ python3.11 part.py  (via sh)
14:30:35                                                unexplained   └─ '$EDITOR'  (what $EDITOR stands for is not known)
"""  # noqa: E501
SAID = "pythonaudit: 1 Python process was not recorded, 1 more unexplained\n"


def test_a_table_for_people(family: Path) -> None:
    done = commands.run(family, "tree")
    assert (done.returncode, done.stdout, done.stderr) == (0, TABLE, SAID)


def test_where_boxes_cannot_be_drawn(family: Path) -> None:
    done = commands.run(family, "tree", env=commands.environment(PYTHONIOENCODING="ascii"))
    boxes = {"├─": "|-", "└─": "`-", "│": "|"}
    assert done.stdout == re.sub("|".join(boxes), lambda match: boxes[match[0]], TABLE)


def test_on_a_terminal(family: Path) -> None:
    shown = commands.show(family, "tree", columns=80)
    assert "\x1b[1;31mnot-recorded" in shown.text
    lines = STYLES.sub("", shown.text).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[2:5] == [
        "begin         pid  events  lost  coverage      process",
        "14:30:33       10       6     7  recorded      python3.11 app.py  (its parent, …",
        "14:30:33       11       1     0  recorded      ├─ python3.11 job.py --fast",
    ]
    assert lines[5].endswith("not-recorded  ├─ python3 -S gone…  (Python by …")
    assert lines[-1] == SAID.strip()


def test_rows_for_programs(family: Path) -> None:
    done = commands.run(family, "tree", "--format", "jsonl")
    assert (done.returncode, done.stderr) == (0, SAID)
    root, job, gone, git, shell, part, editor = map(json.loads, done.stdout.splitlines())
    ids = [f"{number:032x}" for number in range(4)]
    common = {"python": "3.11.7", "exe": EXE, "way": "preload", "run": "r", "host": "elsewhere"}
    assert root["coverage"] == "recorded"
    assert {key: root[key] for key in ("process", "depth", "events", "lost", "pid", "ppid", "state")} == {
        "process": ids[1], "depth": 0, "events": 6, "lost": 7, "pid": 10, "ppid": 9, "state": "ended",
    }  # fmt: skip
    assert "parent_process" not in root
    assert common.items() <= root.items()
    user = root["user"]
    assert job == common | {
        "process": ids[2], "parent_process": ids[1], "depth": 1, "coverage": "recorded", "link": "ppid",
        "command": "python3.11 job.py --fast", "event": "subprocess.Popen", "start": f"{ids[1]}/1/0",
        "begin": "2026-11-22T14:30:33.228456789Z", "end": "2026-11-22T14:30:34.623456789Z", "state": "stopped",
        "events": 1, "lost": 0, "pid": 11, "ppid": 10, "argv": ["job.py", "--fast"], "boot": root["boot"],
        "user": user, "selected": True,
    }  # fmt: skip
    assert gone == {
        "parent_process": ids[1], "depth": 1, "coverage": "not-recorded", "reason": "Python by its name",
        "command": "python3 -S gone.py", "event": "subprocess.Popen", "start": f"{ids[1]}/1/1",
        "begin": "2026-11-22T14:30:35.123456789Z", "selected": True,
    }  # fmt: skip
    assert [row["coverage"] for row in (git, shell, editor)] == ["not-python", "not-python", "unexplained"]
    assert (part["parent_process"], part["parent_start"], part["via"]) == (ids[1], shell["start"], "sh")
    assert (part["link"], part["depth"]) == ("command", 2)


def test_csv(family: Path) -> None:
    done = commands.run(family, "tree", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["coverage"] for row in rows[:3]] == ["recorded", "recorded", "not-recorded"]
    assert rows[1]["argv"] == '["job.py","--fast"]'
    assert {row["selected"] for row in rows} == {"true"}
    said = [json.loads(line) for line in commands.run(family, "tree", "--format", "jsonl").stdout.splitlines()]
    assert set().union(*said) <= set(rows[0])


@pytest.mark.parametrize(
    ("words", "commands_shown"),
    [
        (["--pid", "11"], ["(python3.11 app.py)", "python3.11 job.py --fast"]),
        (["--process", f"{3:032x}"], ["(python3.11 app.py)", "(sh -c 'python3 part.py | cat')", "python3.11 part.py"]),
        (["--path", "/srv/2"], ["(python3.11 app.py)", "python3.11 job.py --fast"]),
        (["--context", "job=2"], ["(python3.11 app.py)", "python3.11 job.py --fast"]),
        (["--where", "event = 'open' AND pid = 11"], ["(python3.11 app.py)", "python3.11 job.py --fast"]),
        (["--pid", "10", "--until", "2026-11-22T14:30:33.2Z"], ["python3.11 app.py"]),
        (["--run", "r", "--since", "2026-11-22T14:30:35.7Z"], ["python3.11 app.py"]),
    ],
)  # fmt: skip
def test_filters(family: Path, words: list[str], commands_shown: list[str]) -> None:
    done = commands.run(family, "tree", "--format", "jsonl", *words)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    shown = [row["command"] if row["selected"] else f"({row['command']})" for row in rows]
    assert (shown, done.stderr) == (commands_shown, "")


def test_processes_of_a_package(tmp_path: Path) -> None:
    (tmp_path / "site-packages").mkdir()
    for number in (1, 2):
        save_process(tmp_path, number, 10 + number, 10, 0, [f"{number}.py"], host=socket.gethostname())
    for words in ([], ["--package", "lib2"]):
        done = commands.run(tmp_path, "tree", "--format", "jsonl", *words)
        shown = [json.loads(line)["command"] for line in done.stdout.splitlines()]
        assert shown == [f"python3.11 {number}.py" for number in ((2,) if words else (1, 2))]


def test_what_was_not_asked_for_is_dimmed_and_not_counted(family: Path) -> None:
    lines = commands.show(family, "tree", "--pid", "13").text.splitlines()
    assert STYLES.sub("", lines[0]) == "1 recorded, 0 not-python, 0 not-recorded, 0 unexplained"
    assert ["\x1b[2m" in line.partition("python3.11")[0] for line in lines if "python3.11" in line] == [
        True,
        False,
    ]


def test_no_process(family: Path) -> None:
    for form in ("table", "jsonl"):
        done = commands.run(family, "tree", "--pid", "4711", "--format", form)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == f"pythonaudit: no process matches in {family}\n"


@pytest.mark.parametrize(("words", "status"), [(["--pid", "x"], 2), (["--since", "x"], 2), (["--run", "last"], 3)])
def test_what_makes_no_sense(tmp_path: Path, words: list[str], status: int) -> None:
    (tmp_path / "journal").mkdir()
    done = commands.run(tmp_path, "tree", *words)
    assert (done.returncode, done.stdout) == (status, "")
    assert re.fullmatch(r"pythonaudit: [^\n]+\n", done.stderr)


def test_no_journal(tmp_path: Path) -> None:
    done = commands.run(tmp_path / "nowhere", "tree")
    assert (done.returncode, done.stdout) == (3, "")


def test_siblings_that_look_alike_are_one_line_on_a_terminal(tmp_path: Path) -> None:
    save_process(tmp_path, 1, 10, 9, 0, ["app.py"], until_ms=60_000)
    for number in range(200):
        # Every second one has a child of its own.
        save_process(tmp_path, 1000 + number, 1000 + number, 10, 100 + number * 10, ["job.py"])
        if number % 2:
            save_process(tmp_path, 2000 + number, 2000 + number, 1000 + number, 105 + number * 10, ["part.py"])
    lines = STYLES.sub("", commands.show(tmp_path, "tree", columns=140).text).splitlines()
    assert [line.partition("recorded      ")[2] for line in lines[4:]] == [
        "├─ 100 \N{MULTIPLICATION SIGN} python3.11 job.py",
        "└─ 100 \N{MULTIPLICATION SIGN} python3.11 job.py",
        "   └─ python3.11 part.py",
    ]
    assert "    100      0  recorded" in lines[4]
    assert len(commands.run(tmp_path, "tree").stdout.splitlines()) == 3 + 1 + 300


def test_a_deep_tree_stays_readable(tmp_path: Path) -> None:
    for number in range(300):
        save_process(tmp_path, number + 1, number + 10, number + 9, number * 10, ["app.py"])
    lines = commands.run(tmp_path, "tree").stdout.splitlines()
    assert lines[-1].endswith("└─ (299) python3.11 app.py")
    assert max(map(len, lines)) < 250


def test_text_of_others_does_nothing(tmp_path: Path) -> None:
    evil = "\x1b[31m\u202e\nforged"
    save_process(tmp_path, 1, 10, 9, 0, [evil], [(100, [f"=cmd{evil}", evil])])
    for done in (commands.run(tmp_path, "tree").stdout, commands.show(tmp_path, "tree", columns=200).text):
        text = STYLES.sub("", done)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert len([line for line in text.splitlines() if "forged" in line]) == 2
    rows = list(csv.DictReader(io.StringIO(commands.run(tmp_path, "tree", "--format", "csv").stdout)))
    assert not any((cell or "").startswith("=") for row in rows for cell in row.values())
