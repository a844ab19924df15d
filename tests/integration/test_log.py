"""`pythonaudit log` as its user sees it: in pipes, on terminals, and while processes run."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pythonaudit.cli import access
from pythonaudit.cli.formats import COLUMNS
from pythonaudit.journal import layout
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal
from tests import commands
from tests.journal_writer import BEGIN_NS, SegmentWriter

SECOND = 1_000_000_000
LIBRARY = ("/usr/lib/python3.11/subprocess.py", 1024, "Popen._execute_child")
VIEWS = ("/srv/shop/orders/views.py", 120, "OrderView.post")
APP = ("/srv/shop/app.py", 3, "main")
HOSTILE = "\x1b[2J\x1b]0;gone\x07\nforged line\u202etxt.exe\x9b31m"

SHOP = {
    "python": "3.11.7",
    "exe": "/usr/bin/python3",
    "argv": ["/srv/shop/app.py"],
    "cwd": "/srv",
    "host": "web-1",
}


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two processes, each of a run of its own."""
    directory = tmp_path_factory.mktemp("trail")
    shop = SegmentWriter(attributes=SHOP | {"run": "first"})
    thread = shop.thread()
    application = layout.SOURCE_APPLICATION
    thread.event("open", ["/etc/passwd", "r", 524288], stack=[LIBRARY, VIEWS, APP])
    shop.ticks += SECOND
    thread.event("open", ["data/orders.db", None, 577], stack=[APP])
    shop.ticks += SECOND
    thread.event("User logged in: username=johndoe, ip=192.168.0.1", source=application, stack=[VIEWS, APP])
    shop.ticks += SECOND
    thread.event("shop.order.paid", [{"order": 7, "note": "=1+1"}], source=application, stack=[APP])
    shop.ticks += SECOND
    thread.event(HOSTILE, [HOSTILE], source=application, stack=[("/srv/\x1b[31m.py", 1, "f\n")])
    shop.ticks += SECOND
    thread.event("open", ["/x", "r", 0], source=application, notes=1 << 5, stack=[APP])
    shop.save(directory)
    worker = SegmentWriter(
        process=bytes(range(0xA0, 0xB0)),
        begin_ns=BEGIN_NS + 10 * SECOND,
        pid=77,
        attributes=SHOP | {"run": "second"},
    )
    thread = worker.thread()
    thread.event("socket.connect", [{"$type": "socket.socket"}, ["::1", 443, 0, 0]], stack=[LIBRARY, APP])
    thread.event("subprocess.Popen", ["git", ["git", "log", "-n", "a b"], None, None], source=layout.SOURCE_STDLIB)
    worker.save(directory)
    return directory


def recorded(directory: Path) -> list[bytes]:
    """Each event as JSON, but those that earlier tests have left by reading."""
    return [event.to_json() for event in Journal(directory).events(EventFilter(without_names=access.EVENTS))]


def names(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line)["event"] for line in done.stdout.splitlines()]


def test_jsonl_is_each_event_as_the_journal_has_it(trail: Path) -> None:
    done = commands.run(trail, "log", "--format", "jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [line.decode() for line in recorded(trail)]
    assert len(done.stdout.splitlines()) == 8


def test_table_in_a_pipe(trail: Path) -> None:
    done = commands.run(trail, "log")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "2026-11-22T14:30:33.123456Z app.py[123]          open /etc/passwd mode=r"
        "  [/srv/shop/orders/views.py:120 OrderView.post]\n"
        "2026-11-22T14:30:34.123456Z app.py[123]          open data/orders.db flags=O_WRONLY|O_CREAT|O_TRUNC"
        "  [/srv/shop/app.py:3 main]\n"
        "2026-11-22T14:30:35.123456Z app.py[123]          User logged in: username=johndoe, ip=192.168.0.1"
        "  [/srv/shop/orders/views.py:120 OrderView.post]\n"
        "2026-11-22T14:30:36.123456Z app.py[123]          shop.order.paid order=7 note==1+1"
        "  [/srv/shop/app.py:3 main]\n"
        r"2026-11-22T14:30:37.123456Z app.py[123]          "
        r"\x1b[2J\x1b]0;gone\x07\nforged line\u202etxt.exe\x9b31m "
        r"\x1b[2J\x1b]0;gone\x07\nforged line\u202etxt.exe\x9b31m  [/srv/\x1b[31m.py:1 f\n]"
        "\n"
        "2026-11-22T14:30:38.123456Z app.py[123]          open /x mode=r (not raised by CPython)"
        "  [/srv/shop/app.py:3 main]\n"
        "2026-11-22T14:30:43.123456Z app.py[77]           socket.connect [::1]:443"
        "  [/srv/shop/app.py:3 main]\n"
        "2026-11-22T14:30:43.123456Z app.py[77]           subprocess.Popen git log -n 'a b'\n"
    )


def test_csv_has_the_keys_of_json_and_runs_nothing(trail: Path) -> None:
    done = commands.run(trail, "log", "--format", "csv")
    rows = list(csv.reader(io.StringIO(done.stdout, newline="")))
    assert rows[0] == list(COLUMNS)
    events = list(map(json.loads, recorded(trail)))
    assert {key for event in events for key in event} <= set(COLUMNS)
    for row, event in zip(rows[1:], events, strict=True):
        for column, cell in zip(COLUMNS, row, strict=True):
            value = event.get(column, "")
            assert (json.loads(cell) if isinstance(value, list | dict) else cell) == (
                value if isinstance(value, list | dict | str) else str(value)
            )


def test_csv_escapes_formulas(tmp_path: Path) -> None:
    writer = SegmentWriter(attributes=SHOP | {"cwd": "@SUM(A1)"})
    writer.thread().event("=cmd|' /C calc'!A0", source=layout.SOURCE_APPLICATION)
    writer.save(tmp_path)
    (row,) = csv.DictReader(io.StringIO(commands.run(tmp_path, "log", "--format", "csv").stdout))
    assert (row["event"], row["cwd"]) == ("'=cmd|' /C calc'!A0", "'@SUM(A1)")


LOGIN = "User logged in: username=johndoe, ip=192.168.0.1"


@pytest.mark.parametrize(
    ("words", "events"),
    [
        (["--event", "shop.*"], ["shop.order.paid"]),
        (["--event", "shop.*", "--event", "socket.*"], ["shop.order.paid", "socket.connect"]),
        (["--event", LOGIN], [LOGIN]),
        (["--event", "User logged in: username=*, ip=*"], [LOGIN]),
        (["--event", "SHOP.*"], []),
        (["--category", "network"], ["socket.connect"]),
        (["--category", "process", "--category", "network"], ["socket.connect", "subprocess.Popen"]),
        (["--source", "stdlib"], ["subprocess.Popen"]),
        (["--source", "application", "--event", "open"], ["open"]),
        (["--since", "2026-11-22T14:30:38.123456789Z", "--until", "2026-11-22T14:30:43Z"], ["open"]),
        (["--until", "2026-11-22T14:30:34Z"], ["open"]),
        (["--run", "second"], ["socket.connect", "subprocess.Popen"]),
        (["--run", "last"], ["socket.connect", "subprocess.Popen"]),
        (["--process", "A0a1"], ["socket.connect", "subprocess.Popen"]),
        (["--pid", "77"], ["socket.connect", "subprocess.Popen"]),
        (["--path", "/etc/*"], ["open"]),
        (["--path", "/srv/data/*"], ["open"]),
        (["--path", "data/*"], ["open"]),
        (["--text", "JohnDoe"], [LOGIN]),
        (["--text", "a B"], ["subprocess.Popen"]),
        (["--where", "event = 'open' AND (fields->>'path') LIKE '/etc/%'"], ["open"]),
        (["--where", "(args->>'$[0]') = '/x'"], ["open"]),
        (["--where", "time >= '2026-11-22T14:30:43Z' AND pid = 77", "--event", "s*"],
         ["socket.connect", "subprocess.Popen"]),
        (["--where", "template IS NOT NULL"], [LOGIN]),
        (["-n", "2"], ["socket.connect", "subprocess.Popen"]),
        (["-n", "1", "--event", "open"], ["open"]),
        (["-n", "1", "--where", "event <> 'subprocess.Popen'"], ["socket.connect"]),
    ],
)  # fmt: skip
def test_filters(trail: Path, words: list[str], events: list[str]) -> None:
    done = commands.run(trail, "log", "--format", "jsonl", *words)
    if not events:
        assert done.stderr == f"pythonaudit: no event matches in {trail}\n"
        done.stderr = ""
    assert names(done) == events


def test_brackets_in_a_message_are_taken_literally_too(tmp_path: Path) -> None:
    writer = SegmentWriter()
    writer.thread().event("[shop] why? order=7", source=layout.SOURCE_APPLICATION)
    writer.save(tmp_path)
    for glob in ("[shop] why? order=7", "[shop] why? order=*", "?shop? *"):
        assert len(names(commands.run(tmp_path, "log", "--format", "jsonl", "--event", glob))) == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--since", "soon"],
            "--since: 'soon' is no moment: write 2026-11-22T14:30:00Z, 2026-11-22, 15m, 2d or today",
        ),
        (
            ["-n", "-1"],
            "argument -n: '-1': it takes a whole number from 0 on, such as 10; see 'pythonaudit log --help'",
        ),
        (
            ["--process", "xyz"],
            "argument --process: 'xyz' is no beginning of a process id: write hexadecimal digits;"
            " see 'pythonaudit log --help'",
        ),
    ],
)
def test_wrong_usage(trail: Path, words: list[str], line: str) -> None:
    done = commands.run(trail, "log", *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"pythonaudit: {line}\n")


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("evnt = 'open'", r'--where: Referenced column "evnt" not found.*; columns: time, event, .*, own_fields'),
        ("event = ", r"--where: syntax error.*; columns: .*"),
        ("true); SELECT (1", r"--where takes one condition, not several statements"),
        (
            "event IN (SELECT content FROM read_text('/etc/passwd'))",
            r"--where: .*file system operations are disabled.*",
        ),
    ],
)
def test_wrong_sql_is_one_line(trail: Path, where: str, complaint: str) -> None:
    done = commands.run(trail, "log", "--where", where)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(f"pythonaudit: {complaint}\n", done.stderr), done.stderr


def test_no_store(tmp_path: Path) -> None:
    done = commands.run(tmp_path / "nowhere", "log")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert done.stderr.startswith(f"pythonaudit: nothing is recorded in {tmp_path}/nowhere; ")


def test_no_permission() -> None:
    # Root may read everything: it becomes another user, after a first round in which all is loaded.
    program = (
        "import os, sys\n"
        "from pythonaudit.cli import main\n"
        "os.geteuid() or main(sys.argv[1:]) or os.seteuid(65534)\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        journal = Path(directory, "journal")
        journal.mkdir(mode=0o000)
        words = [sys.executable, "-c", program, "--dir", directory, "log"]
        done = subprocess.run(words, env=commands.environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "")
    line = f"{journal} may not be read by this user; run it as the directory's owner"
    assert done.stderr.splitlines()[-1] == f"pythonaudit: {line}"


def test_no_directory() -> None:
    for follow in ([], ["-f"]):
        done = commands.run(Path("/etc/passwd"), "log", *follow)
        assert (done.returncode, done.stdout) == (3, "")
        hint = "--dir takes a directory that holds recordings, as PYTHONAUDIT_DIR does"
        assert done.stderr == f"pythonaudit: /etc/passwd/journal: Not a directory; {hint}\n"


def test_none_of_them_is_asked_for(trail: Path) -> None:
    done = commands.run(trail, "log", "-n", "0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_segments_that_have_gone_are_said(tmp_path: Path) -> None:
    for pid, sequences in ((1, (2, 4)), (2, (1,)), (3, (0, 1))):
        for sequence in sequences:
            writer = SegmentWriter(process=bytes([pid]) * 16, pid=pid, sequence=sequence, attributes=SHOP)
            writer.thread().event("open", ["/x", "r", 0])
            writer.save(tmp_path, state=layout.STATE_ROTATED)
    why = "not there any more: evicted, removed, or in another user's box"
    for words, line in (
        ([], f"4 segments are {why} (app.py[1], app.py[2])"),
        (["--pid", "2"], f"1 segment is {why} (app.py[2])"),
    ):
        assert commands.run(tmp_path, "log", *words).stderr == f"pythonaudit: {line}\n"
    assert commands.run(tmp_path, "log", "--pid", "3").stderr == ""


def test_it_leaves_itself_out(tmp_path: Path) -> None:
    """Recorded itself, it shows what earlier ones did, and not its own reading."""
    program = (
        "import sys\n"
        "from pythonaudit.recorder.startup import start\n"
        "assert start() == 'recording'\n"
        "from pythonaudit.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    env = commands.environment(PYTHONAUDIT="1", PYTHONAUDIT_DIR=str(tmp_path))
    earlier: list[str] = []
    for verb in ("log", "log", "stats", "log"):
        words = [sys.executable, "-c", program, verb, "--format", "jsonl"]
        done = subprocess.run(words, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        shown = {row["process"] for row in map(json.loads, done.stdout.splitlines()) if "process" in row}
        assert shown == set(earlier)
        earlier = [trail.process.id for trail in Journal(tmp_path).processes()]
    assert len(earlier) == 4


def test_an_empty_store(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    done = commands.run(tmp_path, "log")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"pythonaudit: no event is recorded in {tmp_path}\n"


def test_no_run_is_recorded(tmp_path: Path) -> None:
    SegmentWriter().save(tmp_path)
    done = commands.run(tmp_path, "log", "--run", "last")
    assert (done.returncode, done.stdout) == (3, "")
    line = f"no run is recorded in {tmp_path}; record one with 'pythonaudit run -- COMMAND'"
    assert done.stderr == f"pythonaudit: {line}\n"


def test_losses_and_damage_are_said_at_the_end(tmp_path: Path) -> None:
    for pid in range(5):
        writer = SegmentWriter(process=bytes([pid]) * 16, pid=pid, attributes=SHOP | {"run": f"r{pid}"})
        writer.thread().event("open", ["/x", "r", 0])
        writer.losses[0] = 1000
        writer.losses[6] = 1 if pid == 3 else 0
        path = writer.save(tmp_path)
    path.write_bytes(path.read_bytes()[:-4096])
    done = commands.run(tmp_path, "log", "--format", "jsonl")
    assert done.returncode == 0
    said = done.stderr.splitlines()
    assert said[:2] == [
        "pythonaudit: 5,000 events lost: the disk was full (app.py[0], app.py[1], app.py[2] and 2 more)",
        "pythonaudit: 1 forked process not recorded (app.py[3])",
    ]
    assert said[2] == f"pythonaudit: {path}: 4096 bytes unreadable: the file was cut"
    of_one = commands.run(tmp_path, "log", "--run", "r2").stderr.splitlines()
    assert of_one[0] == "pythonaudit: 1,000 events lost: the disk was full (app.py[2])"


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    writer = SegmentWriter(chunk_bytes=1 << 20)
    thread = writer.thread()
    for number in range(5000):
        thread.event("open", [f"/srv/{number}", "r", 0])
    writer.save(tmp_path)
    for form in ("table", "jsonl", "csv"):
        process = commands.start(tmp_path, "log", "--format", form)
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.wait(), process.stderr.read()) == (141, "")
        process.stderr.close()


def test_a_full_disk_is_one_line(trail: Path) -> None:
    with open("/dev/full", "w") as full:
        done = commands.run(trail, "log", "--format", "jsonl", stdout=full)
    assert (done.returncode, done.stderr) == (3, "pythonaudit: No space left on device\n")


def test_stdout_may_be_closed(trail: Path) -> None:
    done = commands.run(trail, "log", preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, "")


def test_an_ascii_pipe_gets_escapes(tmp_path: Path) -> None:
    writer = SegmentWriter()
    writer.thread().event("open", ["/srv/日本", "r", 0])
    writer.save(tmp_path)
    done = commands.run(tmp_path, "log", env=commands.environment(PYTHONIOENCODING="ascii"))
    assert (done.returncode, done.stderr) == (0, "")
    assert r"open /srv/\u65e5\u672c mode=r" in done.stdout


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("columns", [20, 60, 71, 72, 80, 100, 160, 250])
def test_lines_fit_the_terminal(trail: Path, columns: int) -> None:
    shown = commands.show(trail, "log", columns=columns)
    assert shown.status == 0
    lines = plain(shown.text).splitlines()
    assert lines[0] == "2026-11-22 UTC"
    assert len(lines) == 9  # one for the day
    if columns >= 60:
        assert all(len(line) <= columns for line in lines), lines


def test_a_terminal_shows_colours_and_what_matters(trail: Path) -> None:
    text = commands.show(trail, "log", columns=160).text
    assert "\x1b[34mopen" in text  # files are blue
    assert "\x1b[31m(not raised by CPython)\x1b[0m" in text
    first = plain(text).splitlines()[1]
    assert re.fullmatch(
        r"14:30:33\.123 app\.py\[123\] +open +/etc/passwd mode=r +/srv/shop/orders/views\.py:120 OrderView\.post",
        first,
    )


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_terminals_without_colours(trail: Path, variables: dict[str, str]) -> None:
    text = commands.show(trail, "log", env=commands.environment(**variables)).text
    assert not re.search(r"\x1b\[(?:\d+;)*(?:3|4|9|10)\dm", text)


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_a_terminal_gets_no_control_character_of_an_event(trail: Path, form: str) -> None:
    text = plain(commands.show(trail, "log", "--format", form, columns=250).text)
    assert all(line.isprintable() for line in text.splitlines()) and len(text.splitlines()) == 9 - (
        form == "jsonl"
    )


def test_json_on_a_terminal_says_the_same(trail: Path) -> None:
    shown = commands.show(trail, "log", "--format", "jsonl")
    expected = list(map(json.loads, recorded(trail)))
    assert [json.loads(line) for line in shown.text.splitlines()] == expected


def test_follow_ends_at_the_moment_that_is_too_late(trail: Path) -> None:
    done = commands.run(trail, "log", "-f", "--until", "2026-11-22T14:30:34Z", "--format", "jsonl", timeout=300)
    assert names(done) == ["open"]


def test_contexts(tmp_path: Path) -> None:
    writer = SegmentWriter()
    thread = writer.thread()
    for number in range(4):
        thread.context({"user": f"john{number}", "step": number, "yes": True, "odd": {"$float": "nan"}})
        thread.event("app.step", [number])
    thread.context(None)
    thread.event("app.none")
    writer.save(tmp_path)

    def steps(*options: str) -> list[int]:
        done = commands.run(tmp_path, "log", "--format", "jsonl", *options)
        assert (done.returncode, done.stderr) == (0, "" if done.stdout else done.stderr)
        return [json.loads(line).get("args", [None])[0] for line in done.stdout.splitlines()]

    assert steps("--context", "user=john[12]") == [1, 2]
    assert steps("--context", "user=john*", "--context", "step=2") == [2]
    assert steps("--context", "user=john1", "--context", "user=john2") == []
    assert steps("--context", "yes=true", "-n", "1") == [3]
    assert steps("--context", 'odd={"$float":"nan"}') == [0, 1, 2, 3]
    assert steps("--context", "no=*") == []
    assert steps("--where", "context->>'user' = 'john3'") == [3]
    assert steps("--where", "context is null") == [None]
    (row,) = csv.DictReader(io.StringIO(commands.run(tmp_path, "log", "--format", "csv", "-n", "1").stdout))
    assert row["context"] == ""
    rows = list(csv.DictReader(io.StringIO(commands.run(tmp_path, "log", "--format", "csv").stdout)))
    assert json.loads(rows[1]["context"]) == {"user": "john1", "step": 1, "yes": True, "odd": {"$float": "nan"}}
    for wrong in ("user", "=x", ""):
        done = commands.run(tmp_path, "log", "--context", wrong)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "such as user=john*" in done.stderr
