"""Whatever ends a process at whatever instant: what was committed is there once, whole and in order.

Each writer of a program raises events and, when `sys.audit` has returned, stores how many in its
slot of a file that it shares with the test. So the journal must hold as many events of that writer,
or one more: the one that had been committed when the counter had not.

The store has to be one instruction, or the counter itself is torn: an element of a memoryview of
native 8-byte words is; `struct.pack_into` is not, it clears the bytes first.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Installed, Recording
from tests.recorded import SEED, SOAK, is_whole, lost, threads

WRITERS = 512
KILLS = 14 * SOAK
#: Enough to fill several segments of 4 MiB.
EVENTS_MAX = 16_000

# What event number `n` of a writer looks like: names of every kind, arguments of many lengths.
EVENT = """
def event(writer, n):
    length = n * n % 97 * (40 if n % 11 == 0 else 3)
    name = f"Writer {writer}: n={n}" if n % 3 == 0 else f"kill.{n % 40}"
    return name, [writer, n, "p" * length]
"""

PROGRAM = (
    EVENT
    + """
import mmap, os, sys, threading

kind, file = sys.argv[1], int(sys.argv[2])
counters = memoryview(mmap.mmap(file, 0)).cast("Q")
sys.setswitchinterval(1e-4)

def deep(levels, name, args):
    if levels:
        return deep(levels - 1, name, args)
    sys.audit(name, *args)

def write(writer, count):
    for n in range(count):
        deep(n % 13, *event(writer, n))
        counters[writer] = n + 1

def thread():
    write(0, sys.maxsize)

def four_threads():
    for writer in range(4):
        threading.Thread(target=write, args=(writer, sys.maxsize)).start()

def processes():
    children = 0
    for writer in range(1, len(counters)):
        pid = os.fork()
        if pid == 0:
            write(writer, 300)
            os._exit(0)
        children += 1
        sys.audit("parent", writer)
        counters[0] = writer
        if children == 3:
            os.wait()
            children -= 1

globals()[kind]()
"""
)


def kill_at(process: subprocess.Popen[bytes], counters: memoryview, instant: int, delay_ns: int) -> None:
    """Kills the process and its children a moment after so many events have been counted."""
    deadline = time.monotonic() + 120
    while sum(counters) < instant:
        assert process.poll() is None, f"ended by itself with {process.returncode}"
        assert time.monotonic() < deadline, "the program hangs"
        os.sched_yield()
    until = time.perf_counter_ns() + delay_ns
    while time.perf_counter_ns() < until:
        pass
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def check(recording: Recording, counters: memoryview, kind: str) -> None:
    scope: dict[str, object] = {}
    exec(EVENT, scope)
    event = scope["event"]
    assert callable(event)
    if not any(counters) and not (recording.directory / "journal").exists():
        return  # while Python was starting
    assert is_whole(recording)
    written: dict[int, int] = {}
    for thread in threads(recording.journal.events()).values():
        mine = [e for e in thread if e.event.startswith(("kill.", "Writer "))]
        if not mine:
            continue
        writer = mine[0].values[0]
        assert writer not in written, "two threads wrote as one"
        for n, found in enumerate(mine):
            assert (found.event, found.values) == event(writer, n)
            assert len(found.stack) >= n % 13 + 2
        written[writer] = len(mine)
    forked = [e.values[0] for e in recording.journal.events() if e.event == "parent"]
    if kind == "processes":
        assert forked == list(range(1, len(forked) + 1))
        written[0] = len(forked)
    for writer, count in enumerate(counters):
        assert written.pop(writer, 0) - count in (0, 1), f"writer {writer} counted {count} events"
    assert not written


def killed_at_random(installed: Installed, kind: str, chance: random.Random, place: Path) -> Recording:
    """Kills one process of that kind at a random instant and compares what it recorded; `place` is for its files."""
    directory = place / "audit"
    instant = int(EVENTS_MAX ** chance.random()) - 1
    delay_ns = chance.randrange(100_000 if instant else 80_000_000)
    with open(place / "counters", "w+b") as file:
        file.truncate(8 * WRITERS)
        with mmap.mmap(file.fileno(), 0) as shared:
            # The end of this pipe tells that the last process of the group is gone.
            alive, held = os.pipe()
            with memoryview(shared) as view, view.cast("Q") as counters, open(alive, "rb") as pipe:
                process = subprocess.Popen(
                    [installed.python, "-c", PROGRAM, kind, str(file.fileno())],
                    env=installed.environment(PYTHONAUDIT="1", PYTHONAUDIT_DIR=directory),
                    pass_fds=(file.fileno(), held),
                    start_new_session=True,
                )
                os.close(held)
                kill_at(process, counters, instant, delay_ns)
                pipe.read()
                done = subprocess.CompletedProcess(process.args, process.returncode, "", "")
                recording = Recording(directory, done)
                check(recording, counters, kind)
                return recording


@pytest.mark.parametrize("kind", ["thread", "four_threads", "processes"])
def test_killed_at_random(installed: Installed, tmp_path: Path, kind: str) -> None:
    chance = random.Random(f"{SEED} {kind} {installed.interpreter.version_text}")
    for attempt in range(KILLS):
        place = tmp_path / str(attempt)
        place.mkdir()
        killed_at_random(installed, kind, chance, place)


LAST_ACTS = {
    "os._exit": ("os._exit(3)", 3),
    "os.abort": ("os.abort()", -signal.SIGABRT),
    "a segmentation fault": ("ctypes.string_at(1)", -signal.SIGSEGV),
    "os.execv": ("os.execv('/bin/true', ['true'])", 0),
    "SIGKILL from inside": ("os.kill(os.getpid(), 9)", -signal.SIGKILL),
    "SIGTERM": ("os.kill(os.getpid(), 15)", -signal.SIGTERM),
}


@pytest.mark.parametrize("last", LAST_ACTS)
def test_last_acts(installed: Installed, last: str) -> None:
    act, status = LAST_ACTS[last]
    program = f"""
import ctypes, os, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for n in range(1000):
    sys.audit("last.act", n)
{act}
"""
    recording = installed.record(program, status=status)
    assert [e.values for e in recording.events("last.act")] == [[n] for n in range(1000)]
    (thread,) = threads(recording.journal.events()).values()
    after = [e.event for e in thread[-3:]]
    assert {"os._exit": "last.act", "os.execv": "os.exec"}.get(last, after[-1]) == after[-1]
    assert not lost(recording)


def test_exec_of_another_interpreter_is_another_process(installed: Installed) -> None:
    program = """
import os, sys
sys.audit("before", os.getpid())
os.execv(sys.executable, [sys.executable, "-c", "import os, sys; sys.audit('after', os.getpid())"])
"""
    recording = installed.record(program)
    (before,), (after,) = recording.events("before"), recording.events("after")
    assert before.values == after.values
    assert before.process.id != after.process.id
