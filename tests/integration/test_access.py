"""Who reads what is recorded, is recorded: docs/guide/access.md, with real processes."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.cli import access
from pythonaudit.journal import layout
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal
from tests import commands
from tests.journal_writer import SegmentWriter

SOMEBODY = 54321
HOSTILE = "\x1b[2J\x1b]0;gone\x07\nforged\u202etxt"
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
READ_VERBS: list[tuple[str, ...]] = [
    ("log",),
    ("stats",),
    ("stats", "--by", "event"),
    ("who", "opens"),
    ("tree",),
    ("stacks",),
    ("diff", "first", "second"),
    ("sql", "SELECT event FROM events"),
]


def save(directory: Path) -> Path:
    """Two runs, each with one process and two events."""
    for number, label in enumerate(("first", "second"), 1):
        add(directory, number, label)
    return directory


def add(directory: Path, number: int, label: str) -> None:
    """A process of a run, with two events."""
    writer = SegmentWriter(process=bytes([number]) * 16, pid=number, attributes={"run": label, "argv": ["app.py"]})
    thread = writer.thread()
    thread.event("open", ["/etc/passwd", "r", 0], stack=[("/srv/app.py", 1, "main")])
    thread.event("paid", [], source=layout.SOURCE_APPLICATION, stack=[("/srv/app.py", 2, "main")])
    writer.save(directory)


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return save(tmp_path)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory of SOMEBODY's that everybody can reach, with two runs of his."""
    scratch = Path(tempfile.mkdtemp(prefix="pythonaudit-"))
    scratch.chmod(0o755)
    save(scratch)
    (scratch / "journal").rename(scratch / "mine")
    (scratch / "journal").mkdir(mode=0o755)
    (scratch / "mine" / "u0").rename(scratch / "journal" / f"u{SOMEBODY}")
    (scratch / "mine").rmdir()
    own(scratch, SOMEBODY)
    yield scratch
    shutil.rmtree(scratch)


def own(directory: Path, uid: int) -> None:
    for path in (directory, *directory.rglob("*")):
        os.chown(path, uid, uid)


def readings(directory: Path) -> list[dict[str, Any]]:
    """The fields of each event about reading, with its name."""
    wanted = EventFilter(names=access.EVENTS)
    found = [json.loads(event.to_json()) for event in Journal(directory).events(wanted)]
    return [{"event": event["event"], "process": event["process"], **event["fields"]} for event in found]


def say(event: str, **fields: Any) -> dict[str, Any]:
    return {"event": event, **fields}


def without_process(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "process"} for row in rows]


def me() -> dict[str, Any]:
    told = access._reader()
    assert told["uid"] == os.getuid()
    return told


def become(uid: int, directory: Path) -> subprocess.CompletedProcess[str]:
    """`log` as another user; what it takes is loaded before, by reading as a library would."""
    program = (
        "import os, sys\n"
        "from pythonaudit import _recorder\n"
        "from pythonaudit.cli import access, cmd_log, main, render\n"
        "begin, access.begin = access.begin, lambda directory: None\n"
        "main(sys.argv[1:])\n"
        "access.begin = begin\n"
        f"os.setgroups([]); os.setgid({uid}); os.setuid({uid})\n"
        "print('as another user', flush=True)\n"
        "print('as another user', file=sys.stderr, flush=True)\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", program, "--dir", str(directory), "log"]
    done = subprocess.run(words, env=commands.environment(), capture_output=True, text=True)
    done.stdout, done.stderr = (text.rpartition("as another user\n")[2] for text in (done.stdout, done.stderr))
    return done


def recorded(directory: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command that PYTHONAUDIT=1 records."""
    program = (
        "import sys\n"
        "from pythonaudit.recorder.startup import start\n"
        "assert start() == 'recording'\n"
        "from pythonaudit.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    env = commands.environment(PYTHONAUDIT="1", PYTHONAUDIT_DIR=str(directory), **variables)
    return subprocess.run([sys.executable, "-c", program, *words], env=env, capture_output=True, text=True)


@pytest.mark.parametrize("words", READ_VERBS, ids=" ".join)
def test_each_command_records_that_it_reads_and_shows_nothing_of_it(trail: Path, words: tuple[str, ...]) -> None:
    shown = [commands.run(trail, *words) for _ in range(2)]
    assert shown[0].returncode == 0 and shown[0].stderr == shown[1].stderr == ""
    if words != ("stats",) and words[0] != "sql":
        assert shown[0].stdout == shown[1].stdout
    assert "pythonaudit" not in shown[0].stdout
    begun, ended, *again = without_process(readings(trail))
    assert begun == say(access.READ, command=words[0], filters=list(words[1:])) | me()
    count = {"who": {"rows": 1}, "sql": {"rows": 4}, "tree": {"processes": 2}}.get(words[0], {"events": 4})
    assert ended == say(access.END, command=words[0], status=0) | count
    assert [row["event"] for row in again] == [access.READ, access.END]
    ids = [row["process"] for row in readings(trail)]
    assert ids[0] == ids[1] != ids[2] == ids[3]


@pytest.mark.parametrize(
    "words", [("--help",), ("--version",), ("log", "--help"), ("env",), ("doctor",), ("keys",)]
)
def test_what_reads_no_events_records_nothing(trail: Path, words: tuple[str, ...]) -> None:
    commands.run(trail, *words)
    assert readings(trail) == []
    (*_, row) = commands.run(trail, "sql", "--format", "csv", "SELECT way FROM processes").stdout.split()
    assert row != "command"


def test_nothing_is_made_where_nothing_is(tmp_path: Path) -> None:
    for words in (("log",), ("stats",), ("sql", "SELECT 1")):
        assert commands.run(tmp_path / "nowhere", *words).returncode == 3
        assert commands.run(tmp_path, *words).returncode == 3
    assert list(tmp_path.iterdir()) == []


def test_later_readings_see_it_when_they_ask(trail: Path) -> None:
    commands.run(trail, "log", "-n", "1")
    (reader, _) = {row["process"] for row in readings(trail)}, None
    (process,) = reader

    def events(*words: str) -> list[str]:
        done = commands.run(trail, "log", "--format", "jsonl", *words)
        return [row["event"] for row in map(json.loads, done.stdout.splitlines()) if row["process"] == process]

    assert events("--event", access.READ) == [access.READ]
    assert events("--event", "pythonaudit.*") == [access.READ, access.END]
    assert events("--process", process) == [access.READ, access.END]
    assert events() == events("--category", "application") == events("--text", "filters") == []
    done = commands.run(trail, "tree", "--event", "pythonaudit.*", "--format", "jsonl")
    found = {row["process"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert found[process]["way"] == "command" and found[process]["state"] == "ended"


def test_stats_says_how_often(trail: Path) -> None:
    for _ in range(3):
        commands.run(trail, "log")
    table = commands.run(trail, "stats").stdout
    assert table.startswith("4 events recorded, 0 only counted, in 2 processes\n")
    assert f"\nBesides, 3 processes have only read it: --event {access.READ}\n" in table
    rows = list(map(json.loads, commands.run(trail, "stats", "--format", "jsonl").stdout.splitlines()))
    (row,) = [row for row in rows if row["kind"] == "reading"]
    assert row == {"kind": "reading", "event": access.READ, "count": 4}
    assert len([row for row in rows if row["kind"] == "process"]) == 2
    told = commands.run(trail, "stats", "--event", "pythonaudit.*").stdout
    assert told.startswith("10 events recorded, 0 only counted, in 5 processes\n") and "Besides" not in told
    assert "Besides" not in commands.run(trail, "stats", "--run", "first").stdout


def test_it_is_not_in_the_views_that_it_reads(trail: Path) -> None:
    query = "SELECT (SELECT count(*) FROM {}) AS found"
    for view, first, second in (("events", 4, 6), ("processes", 2, 3), ("segments", 2, 3), ("losses", 0, 0)):
        shutil.rmtree(trail)
        save(trail)
        for count in (first, second):
            done = commands.run(trail, "sql", "--format", "jsonl", query.format(view))
            assert json.loads(done.stdout) == {"found": count}, view


def test_archived_readings(trail: Path) -> None:
    commands.run(trail, "log")
    ingest(Journal(trail), Archive(trail))
    assert not list(trail.glob("journal/*/*.pyaudit"))
    for words in READ_VERBS:
        assert "pythonaudit" not in commands.run(trail, *words).stdout.replace("--event pythonaudit.read", "") or (
            words in (("stats",), READ_VERBS[-1])
        )
    done = commands.run(trail, "log", "--event", access.READ, "--format", "jsonl")
    assert len(done.stdout.splitlines()) == 1 + len(READ_VERBS)
    done = commands.run(trail, "sql", "SELECT fields ->> 'command' FROM events WHERE event = 'pythonaudit.read'")
    assert done.stdout.split().count("log") == 3


def test_an_archive_alone(trail: Path) -> None:
    ingest(Journal(trail), Archive(trail))
    shutil.rmtree(trail / "journal")
    assert len(commands.run(trail, "log").stdout.splitlines()) == 4
    assert [row["event"] for row in readings(trail)] == [access.READ, access.END]


def test_a_reader_that_is_killed(trail: Path) -> None:
    follower = commands.start(trail, "log", "-f", "--format", "jsonl")
    assert follower.stdout is not None
    assert [json.loads(follower.stdout.readline())["event"] for _ in range(4)] == ["open", "paid"] * 2
    other = commands.run(trail, "log")  # does not show up in what is followed, and does not end it
    assert other.returncode == 0
    add(trail, 3, "third")
    assert [json.loads(follower.stdout.readline())["run"] for _ in range(2)] == ["third"] * 2
    follower.kill()
    rest, _ = follower.communicate()
    assert rest == ""
    found = readings(trail)
    assert [row["event"] for row in found if row["filters" if row["event"] == access.READ else "command"]]
    (killed,) = [row for row in found if row.get("filters") == ["-f", "--format", "jsonl"]]
    assert [row["event"] for row in found if row["process"] == killed["process"]] == [access.READ]


def test_following_the_readings_of_others(trail: Path) -> None:
    follower = commands.start(trail, "log", "-f", "--event", "pythonaudit.*", "--format", "jsonl")
    assert follower.stdout is not None
    while not select.select([follower.stdout], [], [], 0.5)[0]:  # it may not have begun when the first one reads
        commands.run(trail, "stats", "--run", "first")
    shown = [json.loads(follower.stdout.readline()) for _ in range(2)]
    assert [row["event"] for row in shown] == [access.READ, access.END]
    assert shown[0]["fields"]["filters"] == ["--run", "first"]
    follower.send_signal(signal.SIGINT)
    follower.communicate()
    assert follower.returncode == 130
    ended = readings(trail)[-1]
    assert (ended["event"], ended["status"]) == (access.END, 130)
    assert ended["events"] >= 2


def test_waiting_for_the_first_event_is_no_reading_yet(tmp_path: Path) -> None:
    follower = commands.start(tmp_path / "later", "log", "-f", "--format", "jsonl")
    assert follower.stderr is not None and follower.stdout is not None
    assert follower.stderr.readline().endswith("yet; waiting\n")
    assert not (tmp_path / "later").exists()
    save(tmp_path / "later")
    assert json.loads(follower.stdout.readline())["event"] == "open"
    assert [row["event"] for row in readings(tmp_path / "later")] == [access.READ]
    follower.kill()
    follower.communicate()


def test_a_pipe_that_nobody_reads(trail: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = commands.run(trail, "log", stdout=theirs)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, "")
    assert without_process(readings(trail))[-1] == say(access.END, command="log", events=4, status=141)


def test_a_reading_that_fails(trail: Path) -> None:
    assert commands.run(trail, "sql", "SELECT nothing").returncode == 2
    assert without_process(readings(trail))[-1] == say(access.END, command="sql", status=2)


def test_options_that_say_secrets_or_what_a_terminal_would_obey(trail: Path) -> None:
    words = ["--text", "password=hunter2 " + HOSTILE, "--context", "token=abcdef", "--path", "\udcff" + "x" * 9000]
    raw = [os.fsencode(word) for word in words]
    command = [*map(os.fsencode, (*commands.COMMAND, "--dir", str(trail), "log")), *raw]
    done = subprocess.run(command, env=commands.environment(), capture_output=True)
    assert done.returncode == 0
    (begun, _) = readings(trail)
    assert begun["filters"][:4] == ["--text", f"password=*** {HOSTILE}", "--context", "token=***"]
    text = commands.run(trail, "log", "--event", access.READ).stdout
    assert "hunter2" not in text and "abcdef" not in text
    assert all(line.isprintable() for line in text.splitlines())
    (segment,) = [path for path in trail.glob("journal/*/*.pyaudit") if begun["process"] in path.name]
    assert b"hunter2" not in segment.read_bytes() and b"abcdef" not in segment.read_bytes()


def test_a_limit_of_the_journal_is_not_the_readers_to_enforce(trail: Path) -> None:
    """However little there may be: a reading removes nothing, and is recorded."""
    before = sorted(trail.glob("journal/*/*.pyaudit"))
    env = commands.environment(PYTHONAUDIT_MAX_BYTES="1M", PYTHONAUDIT_RUN="mine", PYTHONAUDIT_EVENTS="nonsense")
    (trail / "journal" / "u0" / "usage").write_bytes((1 << 30).to_bytes(8, "little") + bytes(8))
    done = commands.run(trail, "log", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(before) < set(trail.glob("journal/*/*.pyaudit"))
    assert [row["event"] for row in readings(trail)] == [access.READ, access.END]
    assert not [trail for trail in Journal(trail).processes() if trail.process.run == "mine"]


def test_recorded_already(trail: Path) -> None:
    """With PYTHONAUDIT=1 it is one process, recorded once."""
    words = ("log", "--format", "jsonl")
    first = recorded(trail, *words)
    assert [json.loads(line)["event"] for line in first.stdout.splitlines()] == ["open", "paid"] * 2
    assert first.stderr == ""
    begun, ended = readings(trail)
    assert (begun["event"], ended["event"], ended["events"]) == (access.READ, access.END, 4)
    (left,) = [left for left in Journal(trail).processes() if left.process.id == begun["process"]]
    assert left.process.way == "site" and left.events > 100
    # What such a process did is there for others; that it read is left out all the same.
    again = [json.loads(line) for line in recorded(trail, *words).stdout.splitlines()]
    assert {row["process"] for row in again} >= {begun["process"]}
    assert access.READ not in {row["event"] for row in again}


def test_recorded_already_elsewhere_or_without_these(tmp_path: Path) -> None:
    there, elsewhere = save(tmp_path / "there"), tmp_path / "elsewhere"
    words = ("--dir", str(there), "log")
    done = recorded(elsewhere, *words)
    told = f"pythonaudit: this reading is not recorded in {there}:"
    assert done.stderr == f"{told} this process is recorded in {elsewhere}\n"
    assert (readings(there), len(done.stdout.splitlines())) == ([], 4)
    done = recorded(there, *words, PYTHONAUDIT_EVENTS="default,-pythonaudit.*")
    assert done.stderr == f"{told} PYTHONAUDIT_EVENTS leaves pythonaudit.read out\n"


def test_in_a_recorded_run(trail: Path) -> None:
    words = ("run", "-q", "--label", "mine", "--", *commands.COMMAND, "log", "--run", "first")
    done = commands.run(trail, *words)
    assert (len(done.stdout.splitlines()), done.stderr) == (2, "")
    begun, ended = readings(trail)
    assert (begun["filters"], ended["events"]) == (["--run", "first"], 2)
    (left,) = [left for left in Journal(trail).processes() if left.process.id == begun["process"]]
    assert (left.process.way, left.process.run) == ("preload", "mine")


def test_several_readings_of_one_process(trail: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pythonaudit.cli import main\n"
        "assert main(['--dir', sys.argv[1], 'log', '-n', '1']) == 0\n"
        "assert main(['--dir', sys.argv[1], 'stats']) == 0\n"
        "assert main(['env']) == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(trail)], env=commands.environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [row["command"] for row in readings(trail)] == ["log", "log", "stats", "stats"]
    assert str(trail) not in done.stdout.rpartition("PYTHONAUDIT=1")[2]  # env tells of settings, not of this


def test_off_by_configuration(trail: Path) -> None:
    setting = trail / "config.toml"
    setting.write_text("[access]\nrecord = false\n")
    for _ in range(2):
        done = commands.run(trail, "log")
        assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 4)
    off = say(access.SETTING, record=False, config=str(setting)) | me()
    assert without_process(readings(trail)) == [off]
    setting.write_text("[access]\nrecord = true\n")
    commands.run(trail, "log")
    found = without_process(readings(trail))
    assert found[1] == off | {"record": True}
    assert [row["event"] for row in found[2:]] == [access.READ, access.END]
    commands.run(trail, "log")
    assert [row["event"] for row in readings(trail)[4:]] == [access.READ, access.END]


@pytest.mark.parametrize("text", ["[access]\nrecord = 'no'\n", "[access\n", "[acces]\nrecord = false\n"])
def test_a_configuration_that_makes_no_sense_switches_nothing_off(trail: Path, text: str) -> None:
    (trail / "config.toml").write_text(text)
    assert commands.run(trail, "log").returncode == 0
    assert [row["event"] for row in readings(trail)] == [access.READ, access.END]


@ROOT_ONLY
def test_what_belongs_to_another_user(shared: Path) -> None:
    done = commands.run(shared, "log")
    told = f"pythonaudit: this reading is not recorded in {shared}: its journal belongs to {SOMEBODY}\n"
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, told, 4)
    assert os.listdir(shared / "journal") == [f"u{SOMEBODY}"]
    done = become(SOMEBODY, shared)
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 4)
    begun, _ = readings(shared)
    assert begun["uid"] == SOMEBODY and "user" not in begun


@ROOT_ONLY
def test_no_right_to_write(shared: Path) -> None:
    own(shared, 0)
    shutil.rmtree(shared / "journal" / f"u{SOMEBODY}")
    save(shared)
    for path in shared.rglob("*"):
        path.chmod(0o755)
    done = become(SOMEBODY, shared)
    told = f"pythonaudit: this reading is not recorded in {shared}: Permission denied\n"
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, told, 4)


@ROOT_ONLY
def test_a_drop_box_directory(shared: Path) -> None:
    """Who has a box reads it, and leaves his record there; who has none can read nothing, and leaves nothing."""
    for path in (shared, shared / "journal"):
        os.chown(path, 0, 0)
    (shared / "journal").chmod(0o1733)
    done = become(SOMEBODY, shared)
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 4)
    assert [row["uid"] for row in readings(shared) if row["event"] == access.READ] == [SOMEBODY]
    assert become(SOMEBODY + 1, shared).returncode == 3
    assert os.listdir(shared / "journal") == [f"u{SOMEBODY}"]


@ROOT_ONLY
@pytest.mark.parametrize(
    ("options", "reason"), [("ro", "Read-only file system"), ("size=64k", "No space left on device")]
)
def test_a_medium_that_takes_nothing(tmp_path: Path, options: str, reason: str) -> None:
    place = tmp_path / "medium"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
    try:
        save(place)
        if options == "ro":
            subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        else:
            with open(place / "filler", "wb", buffering=0) as filler, pytest.raises(OSError):
                while True:
                    filler.write(bytes(4096))
        (tmp_path / "runtime").mkdir(mode=0o700)
        done = commands.run(place, "log", env=commands.environment(XDG_RUNTIME_DIR=str(tmp_path / "runtime")))
        assert list((tmp_path / "runtime").iterdir()) == []  # the owner of the trail does not look there
        told = f"pythonaudit: this reading is not recorded in {place}: {reason}\n"
        assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, told, 4)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_another_hook_that_refuses(trail: Path) -> None:
    program = (
        "import sys\n"
        "def refuse(event, args):\n"
        "    if event.startswith('pythonaudit'): raise RuntimeError('no')\n"
        "sys.addaudithook(refuse)\n"
        "from pythonaudit.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "--dir", str(trail), "log"]
    done = subprocess.run(command, env=commands.environment(), capture_output=True, text=True)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 4)
    assert done.stderr.startswith(f"pythonaudit: this reading is not recorded in {trail}: another audit hook")
    assert done.stderr.count("\n") == 1


def test_the_tree_is_the_applications(tmp_path: Path) -> None:
    commands.run(tmp_path, "run", "-q", "--", sys.executable, "-c", "pass")
    for words in (("tree",), ("tree", "--run", "last")):
        for _ in range(2):
            done = commands.run(tmp_path, *words, "--format", "jsonl")
            assert len(done.stdout.splitlines()) == 1
