"""Rows of the process tree from a journal: commands as the events have them, whatever they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pythonaudit.journal import layout
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal
from pythonaudit.query.attempts import EVENTS
from pythonaudit.query.commands import Command
from pythonaudit.query.rows import load
from tests.journal_writer import SegmentWriter

HERE = "/srv"
BYTES = {"$bytes": "/usr/bin/git"}
OBJECT = {"$type": "pathlib.PosixPath"}


@pytest.mark.parametrize(
    ("event", "args", "command"),
    [
        ("subprocess.Popen", ["git", ["git", "a b"], None, None], Command(("git", "a b"), "git", HERE)),
        ("subprocess.Popen", [BYTES, [BYTES, OBJECT], "/tmp", {}], Command(("/usr/bin/git", ""), "/usr/bin/git", "/tmp")),
        ("subprocess.Popen", [OBJECT, [OBJECT], OBJECT, None], Command(("",), None, HERE)),
        ("subprocess.Popen", ["git", ["git", "a", {"$more": 9}], None, None], Command(("git", "a"), "git", HERE)),
        ("subprocess.Popen", [None, "git log", None, None], Command(("git log",), None, HERE)),
        ("subprocess.Popen", [], Command((), None, HERE)),
        ("subprocess.Popen", [1, {"a": 1}, [], "x", "y"], Command((), None, HERE)),
        ("os.exec", [BYTES, ["git"], None], Command(("git",), "/usr/bin/git", HERE)),
        ("os.posix_spawn", ["/bin/ls", ["ls"], {}], Command(("ls",), "/bin/ls", HERE)),
        ("os.spawn", [0, "/bin/ls", ["ls"], {}], Command(("ls",), "/bin/ls", HERE)),
        ("_posixsubprocess.fork_exec", [[BYTES], ["git"], None], Command(("git",), "/usr/bin/git", HERE)),
        ("_posixsubprocess.fork_exec", [[BYTES, BYTES], ["git"], None], Command(("git",), None, HERE)),
        ("os.system", [{"$bytes": "ls -l"}], Command(("sh", "-c", "ls -l"), None, HERE)),
        ("os.system", [OBJECT], Command(("sh",), None, HERE)),
        ("pty.spawn", [["bash", "-i"]], Command(("bash", "-i"), None, HERE)),
        ("os.fork", [], Command((), None, HERE)),
    ],
)  # fmt: skip
def test_commands(tmp_path: Path, event: str, args: list[Any], command: Command) -> None:
    writer = SegmentWriter(attributes={"cwd": HERE})
    writer.thread().event(event, args)
    writer.save(tmp_path)
    _, (row,) = load(Journal(tmp_path), EventFilter())
    assert (row.event, row.command) == (event, command)


def test_only_what_starts_processes(tmp_path: Path) -> None:
    writer = SegmentWriter()
    thread = writer.thread()
    for name in (*EVENTS, "open", "os.kill"):
        thread.event(name)
    writer.save(tmp_path)
    _, spawns = load(Journal(tmp_path), EventFilter(names=("open",)))
    assert [row.event for row in spawns] == list(EVENTS)
    assert [row.number for row in spawns] == list(range(len(EVENTS)))


def test_a_process(tmp_path: Path) -> None:
    attributes = {"python": "3.12.1", "argv": ["a", "b"], "exe": "/usr/bin/python3", "host": "web-1", "run": "r"}
    writer = SegmentWriter(attributes=attributes, parent=b"\1" * 16, way=layout.WAY_FORK)
    thread = writer.thread()
    thread.event("os.fork")
    thread.count("builtins.id", 41)
    writer.losses[0], writer.losses[6] = 5, 2
    writer.save(tmp_path)
    other = SegmentWriter(process=b"\2" * 16)
    other.thread().event("os.fork")
    other.save(tmp_path)
    (row,), (spawn,) = load(Journal(tmp_path), EventFilter(without="02" * 16))
    assert (row.parent, row.way, row.argv, row.run, row.host) == ("01" * 16, "fork", ("a", "b"), "r", "web-1")
    assert (row.events, row.lost, row.unrecorded_children) == (42, 5, 2)
    assert (row.ended, row.running) == (True, False)
    assert (spawn.process, spawn.slot) == (row.id, 1)
