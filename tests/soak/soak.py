"""For as long as wanted: processes that are killed lose nothing, and one that floods stays bounded.

    make soak MINUTES=60

Not part of `make test`, which does the same shortly. Every round starts a process whose threads
raise numbered events and count, in shared memory, those that have returned; it is killed at a
random moment, and its journal must hold exactly these, and at most one more a thread. Meanwhile
one process floods a directory with a small limit: the directory stays below it, the process does
not grow, and nothing in the journal is damaged.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pythonaudit.journal.reader import Journal
from tests.conftest import INTERPRETERS, Installed

MINUTES = float(os.environ.get("MINUTES", "10"))
LIMIT_BYTES = 32 << 20
#: What the allocator and the kernel may do with a process that does not leak.
GROWTH_BYTES = 32 << 20

COUNTED = """
import itertools, mmap, os, sys, threading
returned = memoryview(mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 0)).cast("Q")
def step(slot, number, depth):
    if depth:
        return step(slot, number, depth - 1)
    sys.audit("soak.step", slot, number)
    returned[slot] = number + 1
def work(slot):
    for number in itertools.count():
        step(slot, number, number % 7)
        sum(range(2000))  # an application does something else too
for slot in range(len(returned)):
    threading.Thread(target=work, args=(slot,)).start()
print("begun", flush=True)
"""

FLOOD = """
import sys
number = 0
while True:
    number += 1
    sys.audit(f"User logged in: username=user{number}", "x" * (number % 300))
    exec(compile("def f():\\n sys.audit('soak.code', %d)\\nf()" % number, f"<{number % 1000}>", "exec"))
"""


def resident_bytes(pid: int) -> int:
    """What a process has in memory, mapped files left out."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


def directory_bytes(directory: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in directory.glob("journal/*/*.pyaudit"))


@pytest.fixture
def flood(installed_here: Installed, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A process that records without end; its pid and its directory."""
    settings: dict[str, str | Path] = {
        "PYTHONAUDIT": "1",
        "PYTHONAUDIT_DIR": tmp_path / "flood",
        "PYTHONAUDIT_MAX_BYTES": str(LIMIT_BYTES),
    }
    with subprocess.Popen(
        [installed_here.python, "-c", FLOOD], env=installed_here.environment(**settings)
    ) as process:
        yield process.pid, tmp_path / "flood"
        process.kill()


def kill_at_random(installed: Installed, directory: Path) -> int:
    """One round; how many events it compared."""
    threads = random.randint(1, 8)
    counters = directory / "counters"
    counters.write_bytes(bytes(8 * threads))
    settings: dict[str, str | Path] = {"PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": directory / "audit"}
    with subprocess.Popen(
        [installed.python, "-c", COUNTED, counters],
        env=installed.environment(**settings),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"begun\n"
        time.sleep(random.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
    returned = memoryview(counters.read_bytes()).cast("Q")
    recorded: list[list[int]] = [[] for _ in range(threads)]
    for event in Journal(directory / "audit").events():
        if event.event == "soak.step":
            slot, number = json.loads(event.args)
            recorded[slot].append(number)
    for slot, numbers in enumerate(recorded):
        assert numbers == list(range(len(numbers))), f"thread {slot}: not in order, or not once"
        assert returned[slot] <= len(numbers) <= returned[slot] + 1, (
            f"thread {slot}: {returned[slot]} had returned"
        )
    return sum(map(len, recorded))


def test_soak(installed: Installed, flood: tuple[int, Path], tmp_path: Path) -> None:
    pid, flooded = flood
    rounds = events = 0
    settled: int | None = None
    end = time.monotonic() + MINUTES * 60 / len(INTERPRETERS)
    while time.monotonic() < end:
        round_directory = tmp_path / "round"
        round_directory.mkdir()
        events += kill_at_random(installed, round_directory)
        rounds += 1
        shutil.rmtree(round_directory)
        assert directory_bytes(flooded) <= LIMIT_BYTES
        if settled is None and directory_bytes(flooded) > LIMIT_BYTES // 2:
            settled = resident_bytes(pid)
        assert settled is None or resident_bytes(pid) < settled + GROWTH_BYTES
    journal = Journal(flooded)
    journal.survey()
    assert journal.damage() == []
    assert rounds and events
    print(f"{installed.interpreter.version_text}: {rounds} kills, {events} events compared, none lost")
