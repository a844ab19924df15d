"""How every query command ends where its output is not wanted any more, at Ctrl-C, and with nothing to say: as git does."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pythonaudit import cli
from tests import commands
from tests.conftest import TIMEOUT_SECONDS
from tests.journal_writer import BEGIN_NS, SegmentWriter
from tests.recorded import SOAK

SPLIT = "2026-11-22T14:30:34Z"
#: Each with what it can write.
COMMANDS = {
    "log": (["log"], ["table", "jsonl", "csv"]),
    "log -n": (["log", "-n", "9000"], ["jsonl"]),
    "log --where": (["log", "--where", "pid > 0"], ["jsonl"]),
    "stats": (["stats"], ["table", "jsonl", "csv"]),
    "stats --by": (["stats", "--by", "event"], ["table", "jsonl", "csv"]),
    "who": (["who", "opens"], ["table", "jsonl", "csv", "parquet", "arrow"]),
    "tree": (["tree"], ["table", "jsonl", "csv"]),
    "stacks": (["stacks"], ["folded", "speedscope", "html"]),
    "diff": (["diff", f"..{SPLIT}", f"{SPLIT}.."], ["table", "markdown", "json", "jsonl", "csv"]),
    "sql": (["sql", "SELECT * FROM events"], ["table", "jsonl", "csv", "parquet", "arrow"]),
}
ALL = [
    pytest.param([*words, "--format", form], id=f"{name} {form}")
    for name, (words, forms) in COMMANDS.items()
    for form in forms
]

#: For what needs a process each.
ONE_FORM_EACH = [
    pytest.param([*words, "--format", form], id=f"{name} {form}")
    for name, (words, forms) in COMMANDS.items()
    for form in (forms if SOAK > 1 or name == "sql" else forms[:1])
]


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than a pipe holds, of log, who, stacks, diff and sql."""
    directory = tmp_path_factory.mktemp("trail")
    for begin_ns, place in ((BEGIN_NS, "srv"), (BEGIN_NS + 10_000_000_000, "opt")):
        writer = SegmentWriter(
            process=bytes([begin_ns % 251]) * 16,
            begin_ns=begin_ns,
            chunk_bytes=1 << 18,
            attributes={"argv": ["a"]},
        )
        thread = writer.thread()
        for number in range(2000):
            thread.event(
                "open", [f"/{place}/{number:x}/x", "r", 0], stack=[("/srv/app.py", number + 1, f"f{number}")]
            )
        writer.save(directory)
    return directory


@contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """One that takes nothing more."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"\n" * 4096)
    except BlockingIOError:
        pass
    os.set_blocking(writing, True)
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


def start(directory: Path, words: list[str], stdout: int) -> subprocess.Popen[str]:
    command = [*commands.COMMAND, "--dir", str(directory), *words]
    env = commands.environment()
    return subprocess.Popen(command, env=env, encoding="utf-8", stdout=stdout, stderr=subprocess.PIPE)


def writes(process: subprocess.Popen[str]) -> bool:
    """Whether it waits for stdout to take more."""
    call = Path(f"/proc/{process.pid}/syscall").read_text().split()
    return call[1:2] == ["0x1"]


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=TIMEOUT_SECONDS)
    return process.returncode, said


@pytest.mark.parametrize("words", ONE_FORM_EACH)
def test_a_reader_that_has_gone(trail: Path, words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with start(trail, words, writing) as process:
        os.close(writing)
        assert end(process) == (141, "")


@pytest.mark.parametrize(
    "words", [param for param in ONE_FORM_EACH if str(param.id).split()[0] in ("log", "who", "sql")]
)
def test_a_reader_of_one_line(trail: Path, words: list[str]) -> None:
    """As `| head -1`."""
    with start(trail, words, subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.buffer.read(1)
        process.stdout.close()
        assert process.stderr
        assert (process.wait(TIMEOUT_SECONDS), process.stderr.read()) == (141, "")


@pytest.mark.parametrize("words", [words for words, _ in COMMANDS.values()], ids=COMMANDS)
def test_interrupted_while_it_writes(trail: Path, words: list[str]) -> None:
    with full_pipe() as (_, writing), start(trail, words, writing) as process:
        while not writes(process):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert end(process) == (130, "")


def works(process: subprocess.Popen[str]) -> bool:
    """Whether it is long past its start: it has taken seconds of the processor."""
    times = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(times[11]) + int(times[12]) >= 4 * os.sysconf("SC_CLK_TCK")


def test_interrupted_while_it_computes(trail: Path) -> None:
    """A query that would take hours."""
    words = ["sql", "SELECT count(*) FROM events a, events b, events c WHERE a.path || b.path < c.path"]
    with start(trail, words, subprocess.DEVNULL) as process:
        while not works(process):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert end(process) == (130, "")


@pytest.mark.parametrize("words", ALL)
def test_nothing_to_say(trail: Path, capfdbinary: pytest.CaptureFixture[bytes], words: list[str]) -> None:
    """No error; one line says so, but for sql, whose rows are the whole answer."""
    more = ["--event", "nothing like it"] if words[0] != "sql" else []
    words = [f"{word} WHERE false" if word.startswith("SELECT") else word for word in words]
    assert cli.main(["--dir", str(trail), *words, *more]) == 0
    said, complained = capfdbinary.readouterr()
    if words[0] != "sql":
        assert complained.startswith((b"pythonaudit: no ", b"pythonaudit: nobody "))
    assert complained.count(b"\n") == {"sql": 0, "diff": 2}.get(words[0], 1)  # of each side
    if words[-1] in ("parquet", "arrow"):
        assert len(said) > 8  # a file without rows
    elif words[-1] == "jsonl" or (words[0] in ("log", "who", "tree") and words[-1] == "table"):
        assert said == b""


@pytest.mark.parametrize("words", [words for words, _ in COMMANDS.values()], ids=COMMANDS)
def test_nothing_is_recorded(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], words: list[str]) -> None:
    """Where there is a journal that is empty; and where there is none, which is an error."""
    assert cli.main(["--dir", str(tmp_path), *words]) == 3
    said, complained = capfdbinary.readouterr()
    assert (said, complained.count(b"\n")) == (b"", 1)
    (tmp_path / "journal").mkdir()
    assert cli.main(["--dir", str(tmp_path), *words]) == 0
