"""`pythonaudit ingest` of what real processes record: running, forked, killed, of other users."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pythonaudit.archive.manifest import Archive
from pythonaudit.journal import layout
from pythonaudit.journal.reader import Journal
from tests.archives import alive, archived_journal, lines, move, process_of, segments, table, write
from tests.commands import run, show, start
from tests.conftest import Installed
from tests.integration.test_recycling import FILL, PROGRAM

MIB = 1 << 20


@contextmanager
def raising(installed: Installed, directory: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """A program that raises as many events as it is told; its segments are a quarter of a MiB."""
    env = installed.environment(PYTHONAUDIT="1", PYTHONAUDIT_DIR=directory, PYTHONAUDIT_EVENTS="app", **settings)
    command = ["prlimit", f"--fsize={256 << 10}", "--", str(installed.python), "-c", PROGRAM]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def tell(process: subprocess.Popen[str], count: int) -> None:
    assert process.stdin and process.stdout
    process.stdin.write(f"{count}\n")
    process.stdin.flush()
    assert process.stdout.readline()


def numbers(journal: Journal) -> list[int]:
    """What the program counted, in the order in which it is read."""
    return [json.loads(event.args)[0] for event in journal.events() if event.event == "app.event"]


def test_every_interpreter(installed: Installed) -> None:
    """A program with a child: after it ended, all of it moves and reads as before."""
    code = "import os, subprocess, sys\nif os.fork() == 0: os._exit(0)\nos.wait()\nopen('/etc/passwd').close()\n"
    code += (
        "sys.audit('User logged in: username=johndoe, ip=192.168.0.1')\nsubprocess.run([sys.executable, '-c', ''])"
    )
    recording = installed.record(code)
    before = lines(recording.journal)
    done = run(recording.directory, "ingest", "--format", "jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["events"] == len(before)
    assert lines(archived_journal(recording.directory)) == before
    assert segments(recording.directory) == []
    log = run(recording.directory, "log", "--format", "jsonl").stdout
    assert log.encode().splitlines() == before
    events = table(recording.directory).to_pylist()
    (opened,) = [row for row in events if row["path"] == "/etc/passwd"]
    assert (opened["event"], opened["function"], opened["file"]) == ("open", "<module>", "<string>")
    (started,) = [row for row in events if row["event"] == "subprocess.Popen"]
    assert started["command"] == f"{installed.python} -c "
    (said,) = [row for row in events if row["category"] == "application" and row["template"]]
    assert said["template"] == "User logged in: username=*, ip=*"
    assert json.loads(said["fields"]) == {"username": "johndoe", "ip": "192.168.0.1"}


def test_a_running_process_uses_archived_segments_again(installed_here: Installed) -> None:
    directory = installed_here.new_directory()
    with raising(installed_here, directory) as process:
        raised = 0
        for _ in range(12):
            tell(process, FILL)
            raised += FILL
            move(directory)
            assert numbers(archived_journal(directory)) == list(range(raised))
        assert 1 < len(segments(directory)) < 6
    move(directory)
    assert segments(directory) == []
    journal = archived_journal(directory)
    assert numbers(journal) == list(range(raised))
    assert journal.losses() == []


def test_killed(installed_here: Installed) -> None:
    directory = installed_here.new_directory()
    with raising(installed_here, directory) as process:
        tell(process, 3 * FILL)
        process.send_signal(signal.SIGKILL)
    report = move(directory)
    assert (report.open, segments(directory)) == (0, [])
    assert numbers(archived_journal(directory)) == list(range(3 * FILL))
    assert table(directory, "segments")["state"].to_pylist()[-1] == "open"


def test_at_the_limit_nothing_archived_is_lost(installed_here: Installed) -> None:
    """What has to go has been archived: it is no loss."""
    directory = installed_here.new_directory()
    with raising(installed_here, directory, PYTHONAUDIT_MAX_BYTES="1M") as process:
        for _ in range(10):
            tell(process, FILL)
            move(directory)
    move(directory)
    journal = archived_journal(directory)
    assert numbers(journal) == list(range(10 * FILL))
    assert journal.losses() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs several users")
def test_boxes_of_others_are_not_touched(installed_here: Installed) -> None:
    directory = installed_here.new_directory()
    recording = installed_here.record("import sys; sys.audit('app.event', 1)", directory=directory)
    before = lines(recording.journal)
    (box,) = (directory / "journal").iterdir()
    for path in (box, *box.iterdir()):
        os.chown(path, 54321, 54321)
    kept = {path: path.read_bytes() for path in box.iterdir()}
    move(directory)
    assert {path: path.read_bytes() for path in box.iterdir()} == kept
    journal = archived_journal(directory)
    assert len(lines(journal)) == len(before)
    assert set(table(directory)["uid"].to_pylist()) == {54321}
    assert move(directory).segments == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs several users")
def test_nobody_can_take_the_place_of_a_segment_of_others(tmp_path: Path) -> None:
    """Another user writes segments of a process of ours: both are kept, and ours is not let go for his."""
    ours = [write(tmp_path, 1, sequence, state=layout.STATE_ROTATED, **alive()) for sequence in range(2)]
    write(tmp_path, 1, 2, state=layout.STATE_OPEN, **alive())
    his = tmp_path / "journal" / "u54321"
    his.mkdir()
    os.chown(his, 54321, 54321)
    for sequence in range(4):
        forged = write(tmp_path / "forged", 1, sequence, 5)
        forged.rename(his / forged.name)
        os.chown(his / forged.name, 54321, 54321)
    before = lines(Journal(tmp_path))
    move(tmp_path, 1)
    assert sorted(lines(archived_journal(tmp_path))) == sorted(before)
    assert len(before) == 3 * 3 + 4 * 5
    assert all(path.exists() for path in ours)
    assert (tmp_path / "drained" / process_of(1).hex()).read_bytes()[24:28] == b"\2\0\0\0"


def test_nothing_is_recorded(tmp_path: Path) -> None:
    done = run(tmp_path, "ingest")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert list(tmp_path.iterdir()) == []


def test_what_commands_say_of_an_archive(installed_here: Installed) -> None:
    recording = installed_here.record(
        "import sys; sys.audit('app.event', 1)", settings={"PYTHONAUDIT_RUN": "nightly"}
    )
    run(recording.directory, "stats")
    stats = run(recording.directory, "stats").stdout
    assert run(recording.directory, "ingest", "--compact").returncode == 0
    again = run(recording.directory, "stats").stdout
    assert again == stats.replace("1 process has only read it", "2 processes have only read it")
    for box in (recording.directory / "journal").iterdir():
        for path in box.iterdir():
            path.unlink()
        box.rmdir()
    (recording.directory / "journal").rmdir()
    done = run(recording.directory, "log", "--run", "last", "--format", "jsonl", "--event", "app.event")
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")
    done = run(recording.directory, "log", "--where", "event = 'app.event'", "--format", "jsonl")
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")
    with start(
        recording.directory, "log", "-f", "-n", "1", "--format", "jsonl", "--event", "app.event"
    ) as follower:
        assert follower.stdout
        assert json.loads(follower.stdout.readline())["event"] == "app.event"
        follower.terminate()
    done = run(recording.directory, "log", "--event", "nothing")
    assert "no event matches" in done.stderr
    archive = Archive(recording.directory)
    (entry,) = archive.entries()
    (part,) = entry.of("events")
    archive.path(part).write_bytes(b"PAR1 of sorts")
    for verb in ("log", "stats"):
        done = run(recording.directory, verb)
        assert done.returncode == 0
        told = [line for line in done.stderr.splitlines() if str(archive.path(part)) in line]
        assert len(told) == 1


def test_states_are_those_of_the_journal() -> None:
    from pythonaudit.archive.segments import STATES

    assert set(STATES) == set(layout.STATES) - {layout.STATE_VOID}


def test_progress_is_shown_on_a_terminal_and_gone_in_the_end(tmp_path: Path) -> None:
    write(tmp_path, process=1)
    shown = show(tmp_path, "ingest")
    assert shown.status == 0
    before, _, left = shown.text.rpartition("\x1b[2K")
    assert "archiving" in before and "archiving" not in left
    assert left.startswith("3 events of 1 segment archived")
