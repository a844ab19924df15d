"""Segments that have been read out, or that the limit lets go, become the next segments of their process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from pythonaudit.journal import layout
from pythonaudit.journal.drained import NAME, publish_drained
from pythonaudit.journal.reader import Journal, SegmentHead
from tests.conformance import stranger
from tests.conftest import FREE_THREADED, Installed, Recording
from tests.recorded import lost, total

MIB = 1 << 20
#: Raises as many events as each line asks for, numbered on.
PROGRAM = """
import sys
n = 0
for line in sys.stdin:
    for _ in range(int(line)):
        sys.audit("app.event", n, "x" * 900)
        n += 1
    print(n, flush=True)
"""
#: Fills more than a segment of a quarter of MiB.
FILL = 400


class Raising:
    """The program at work, and its journal."""

    def __init__(self, process: subprocess.Popen[str], directory: Path) -> None:
        self.process = process
        self.directory = directory
        self.journal = Journal(directory)

    @property
    def box(self) -> Path:
        return self.directory / "journal" / f"u{os.geteuid()}"

    def raise_events(self, count: int) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline()

    def heads(self) -> list[SegmentHead]:
        return sorted(self.journal.heads(), key=lambda head: head.header.sequence)

    def sequences(self) -> list[int]:
        return [head.header.sequence for head in self.heads()]

    def inodes(self) -> set[int]:
        return {path.stat().st_ino for path in self.box.glob("*.pyaudit")}

    def numbers(self) -> list[int]:
        return [event.values[0] for event in Journal(self.directory).events() if event.event == "app.event"]

    def drain(self, segments: int) -> None:
        publish_drained(self.directory, self.heads()[0].header.process.hex(), segments)


@contextmanager
def raising(installed: Installed, limit: str = "2G", size: int = MIB) -> Iterator[Raising]:
    """With segments of no more than `size`, by RLIMIT_FSIZE."""
    directory = installed.new_directory()
    settings = {"PYTHONAUDIT": "1", "PYTHONAUDIT_EVENTS": "app", "PYTHONAUDIT_MAX_BYTES": limit}
    command = ["prlimit", f"--fsize={size}", "--", str(installed.python), "-c", PROGRAM]
    with subprocess.Popen(
        command,
        env=installed.environment(**settings, PYTHONAUDIT_DIR=directory),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Raising(process, directory)
        process.communicate()
    assert process.returncode == 0


def charged(box: Path) -> int:
    return int.from_bytes((box / "usage").read_bytes()[:8], "little")


def allocated(box: Path) -> int:
    return sum(path.stat().st_size for path in box.glob("*.pyaudit"))


def test_what_has_been_read_out_is_used_again(installed: Installed) -> None:
    with raising(installed, size=MIB // 4) as program:
        for _ in range(4):
            program.raise_events(FILL)
        closed = [h for h in program.heads() if h.header.state == layout.STATE_ROTATED]
        assert len(closed) >= 3
        everything = program.numbers()
        inodes = program.inodes()
        program.drain(2)
        for _ in range(2):
            program.raise_events(FILL)
        assert program.sequences()[0] == 2, "the first two became others, in their order"
        assert len(program.inodes() & inodes) == len(inodes)
        kept = program.numbers()
        assert kept == list(range(kept[0], 6 * FILL)), "none lost, none twice, none of the old"
        assert everything[0] == 0 < kept[0]
        assert charged(program.box) == allocated(program.box)
    recording = Recording(program.directory, subprocess.CompletedProcess([], 0))
    assert lost(recording) == {}, "what has been read out is not missing"
    assert not program.journal.damage()
    readings = [stranger.read(path) for path in sorted(program.box.glob("*.pyaudit"))]
    told = [event["args"][0] for reading in readings for event in reading.events]
    assert told == kept and not any(reading.damaged for reading in readings)


def test_nothing_is_used_again_that_was_not_read_out(installed_here: Installed) -> None:
    with raising(installed_here, size=MIB // 4) as program:
        program.raise_events(FILL)
        for _ in range(4):
            program.drain(program.sequences()[-1])  # all but the one that is being written
            program.raise_events(FILL)
        kept = program.numbers()
        assert kept == list(range(kept[0], 5 * FILL))
        assert len(program.heads()) <= 4


def link(file: Path) -> None:
    file.rename(file.with_name("other"))
    file.symlink_to("other")


def cut(file: Path) -> None:
    os.truncate(file, 31)


def of_another(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[8] ^= 1
    file.write_bytes(content)


def fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


LIES: dict[str, Callable[[Path], object]] = {
    "a symbolic link": link,
    "a second link": lambda file: os.link(file, file.with_name("other")),
    "a fifo": fifo,
    "too short": cut,
    "another process": of_another,
    "another magic": lambda file: file.write_bytes(b"X" + file.read_bytes()[1:]),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_is_not_believed(installed_here: Installed, lie: str) -> None:
    with raising(installed_here, size=MIB // 4) as program:
        program.raise_events(2 * FILL)
        program.drain(2)
        (published,) = (program.directory / NAME).iterdir()
        LIES[lie](published)
        program.raise_events(2 * FILL)
        assert program.numbers() == list(range(4 * FILL))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_user_is_not_believed(installed_here: Installed) -> None:
    with raising(installed_here, size=MIB // 4) as program:
        program.raise_events(2 * FILL)
        program.drain(2)
        (published,) = (program.directory / NAME).iterdir()
        os.chown(published, 65534, -1)
        program.raise_events(2 * FILL)
        assert program.numbers() == list(range(4 * FILL))


@pytest.mark.parametrize("limit", ["1M", "4M"])
def test_at_the_limit_the_oldest_are_used_again(installed: Installed, limit: str) -> None:
    """As many files as there is room for, again and again, and each event counted that went with them."""
    with raising(installed, limit, size=4 * MIB) as program:
        inodes: set[int] = set()
        program.raise_events(FILL)
        while program.sequences()[0] < 3:
            program.raise_events(FILL)
        for _ in range(20):
            program.raise_events(FILL)
            inodes |= program.inodes()
            assert charged(program.box) == allocated(program.box) <= int(limit[0]) * MIB
        sequences = program.sequences()
        assert len(inodes) < sequences[-1] - 3
        kept = program.numbers()
        assert [b - a for a, b in pairwise(kept)] == [1] * (len(kept) - 1)
    recording = Recording(program.directory, subprocess.CompletedProcess([], 0))
    assert set(lost(recording)) == {"evicted", "missing-segments"}
    events = [event for event in recording.journal.events() if event.event == "app.event"]
    assert total(recording) == events[-1].values[0] + 1


@pytest.mark.skipif(FREE_THREADED, reason="nothing tells there whether a thread is inside the hook (ADR 18)")
def test_threads_that_sleep_keep_no_segment(installed: Installed) -> None:
    """Whoever has recorded once and sleeps since does not keep a segment open, or mapped."""
    code = f"""
import sys, threading
ready, over = threading.Barrier(9), threading.Event()
def sleep():
    sys.audit("app.once")
    ready.wait()
    over.wait()
threads = [threading.Thread(target=sleep) for _ in range(8)]
for thread in threads: thread.start()
ready.wait()
def more():
    for n in range({4 * FILL}): sys.audit("app.event", n, "x" * 900)
writer = threading.Thread(target=more)
writer.start(); writer.join()
with open("/proc/self/maps") as maps:
    print(sum(".pyaudit" in line for line in maps))
over.set()
"""
    settings: dict[str, str | Path] = {"PYTHONAUDIT_EVENTS": "app", "PYTHONAUDIT_MAX_BYTES": "2M"}
    recording = installed.record(code, settings=settings)
    assert recording.completed.stdout == "1\n"
    states = [head.header.state for head in recording.journal.heads()]
    assert states == [layout.STATE_ROTATED] * (len(states) - 1) + [layout.STATE_CLEAN_END]
    assert len(states) > 1 and lost(recording) == {}


def test_a_child_is_small_whatever_its_parent_wrote(installed: Installed) -> None:
    code = """
import os, sys
for n in range(20000): sys.audit("app.event", n)
if not os.fork():
    sys.audit("app.child")
    sys.exit()
os.wait()
"""
    recording = installed.record(code, settings={"PYTHONAUDIT_EVENTS": "app"})
    (child,) = {event.process.id for event in recording.events("app.child")}
    (path,) = recording.directory.rglob(f"*-{child}-*.pyaudit")
    assert path.stat().st_size <= 48 << 10
