"""For as long as wanted, at random: processes are killed, forked, threaded, failed and flooded, and lose nothing.

    make soak MINUTES=60 SEED=7

Not part of `make test`, which does the same shortly. Each round takes an interpreter and one of

    kill      a process whose threads, or whose children, raise numbered events and count, in shared memory,
              those that have returned, is killed: its journal holds exactly these, and at most one more of each
    fork      a process forks children by the hundred, which raise and end in every way
    thread    short threads by the hundred
    volume    hundreds of thousands of events, through several segments
    fault     a random call of the recorder fails, or all from a random one on: the program's output and status are as
              without us, and what is missing is counted

while one process floods a directory with a small limit all along: the directory stays below it, the process
does not grow, and nothing there is damaged. The last line is the sum, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from pythonaudit.cli.interpreters import Interpreter
from pythonaudit.journal.reader import Journal
from tests.conftest import INTERPRETERS, Installed, Recording
from tests.fault.test_kill import killed_at_random
from tests.native import failing_calls
from tests.native.test_failing_calls import PROGRAM as EVERY_PART
from tests.native.test_failing_calls import SETTINGS, Failed, accounted
from tests.recorded import SEED, is_whole, lost

MINUTES = float(os.environ.get("MINUTES", "10"))
LIMIT_BYTES = 32 << 20
#: What the allocator and the kernel may do with a process that does not leak.
GROWTH_BYTES = 32 << 20
#: Calls of the recorder in EVERY_PART: about as many.
CALLS = 1500

FORK = """
import os, signal, sys
for number in range(int(sys.argv[1])):
    pid = os.fork()
    if not pid:
        sys.audit("soak.fork", number)
        match number % 4:
            case 0: os._exit(0)
            case 1: os.kill(os.getpid(), signal.SIGKILL)
            case 2: os.execv("/bin/true", ["true"])
            case 3: sys.exit()
    if number % 20 == 19:
        for _ in range(20):
            os.wait()
"""

THREAD = """
import sys, threading
def work(number):
    sys.audit("soak.thread", number)
for start in range(0, int(sys.argv[1]), 20):
    threads = [threading.Thread(target=work, args=(start + i,)) for i in range(20)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""

VOLUME = """
import sys, threading
def step(number, depth):
    if depth:
        return step(number, depth - 1)
    sys.audit("soak.volume", number, "x" * (number % 30))
def work():
    for number in range(int(sys.argv[1]) // 2):
        step(number, number % 7)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
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
    """What its segments take; one may go, or get its next name, while they are counted."""
    total = 0
    for path in directory.glob("journal/*/*.pyaudit"):
        with suppress(FileNotFoundError):
            total += path.stat().st_blocks * 512
    return total


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


class Soak:
    """The rounds, and what they add up to."""

    def __init__(self, environments: list[Installed], failing: list[Installed], place: Path) -> None:
        self.environments = environments
        self.failing = failing
        self.place = place
        self.chance = random.Random(SEED)
        self.sum = Counter[str]()

    def round(self) -> None:
        kind = self.chance.choices(list(self.KINDS), weights=[weight for _, weight in self.KINDS.values()])[0]
        self.place.mkdir()
        self.KINDS[kind][0](self, self.chance.choice(self.failing if kind == "fault" else self.environments))
        shutil.rmtree(self.place)
        self.sum[kind] += 1

    def record(self, environment: Installed, program: str, count: int) -> Recording:
        return environment.record(["-c", program, str(count)], directory=self.place / "audit")

    def add(self, recording: Recording) -> None:
        self.sum["processes"] += len(recording.journal.processes())
        self.sum["events"] += sum(trail.events for trail in recording.journal.processes())

    def kill(self, environment: Installed) -> None:
        kind = self.chance.choice(["thread", "four_threads", "processes"])
        recording = killed_at_random(environment, kind, self.chance, self.place)
        self.sum["kills"] += 1
        if (recording.directory / "journal").exists():
            self.add(recording)

    def fork(self, environment: Installed) -> None:
        count = 20 * self.chance.randrange(1, 20)
        recording = self.record(environment, FORK, count)
        assert is_whole(recording)
        assert sorted(e.values[0] for e in recording.events("soak.fork")) == list(range(count))
        self.add(recording)

    def thread(self, environment: Installed) -> None:
        count = 20 * self.chance.randrange(1, 100)
        recording = self.record(environment, THREAD, count)
        assert is_whole(recording)
        assert sorted(e.values[0] for e in recording.events("soak.thread")) == list(range(count))
        self.add(recording)

    def volume(self, environment: Installed) -> None:
        count = 2 * self.chance.randrange(50_000, 300_000)
        recording = self.record(environment, VOLUME, count)
        assert is_whole(recording)
        table = recording.journal.to_arrow()
        rows = zip(table["event"].to_pylist(), table["args"].to_pylist())
        numbers = [json.loads(args)[0] for event, args in rows if event == "soak.volume"]
        assert (np.bincount(numbers, minlength=count // 2) == 2).all()
        assert len(numbers) == count
        self.add(recording)

    def fault(self, environment: Installed) -> None:
        at, onward = self.chance.choice([(1, 0), (0, 1)])
        call = 1 + self.chance.randrange(CALLS) ** 2 // CALLS  # the start makes most of the decisions
        runtime = self.place / "runtime"
        runtime.mkdir(mode=0o700)
        variables = failing_calls.environment(self.place / "report", at=at * call, onward=onward * call)
        settings = SETTINGS | variables | {"XDG_RUNTIME_DIR": str(runtime)}
        recording = environment.record(EVERY_PART, directory=self.place / "audit", settings=settings, status=None)
        done = recording.completed
        bare = environment.run("-c", EVERY_PART)
        assert (done.stdout, done.stderr, done.returncode) == (bare.stdout, "", 0), f"call {call}, {variables}"
        recordings = Failed(recording, Recording(runtime / "pythonaudit", done)).recordings()
        for found in recordings:
            assert not list(found.journal.damage())
            self.add(found)
        if at and recordings:
            assert accounted(recordings, int(bare.stdout.split()[0])), (
                f"call {call}: {list(map(lost, recordings))}"
            )
        self.sum["faults"] += 1

    KINDS: ClassVar[dict[str, tuple[Callable[[Soak, Installed], None], int]]] = {
        "kill": (kill, 70),
        "fork": (fork, 5),
        "thread": (thread, 5),
        "volume": (volume, 3),
        "fault": (fault, 17),
    }


@pytest.fixture
def soak(install: Callable[[Interpreter], Installed], tmp_path: Path) -> Soak:
    """An environment of each interpreter, and another whose recorder can be made to fail."""
    environments = [install(interpreter) for interpreter in INTERPRETERS]
    failing = [install(interpreter) for interpreter in INTERPRETERS]
    (tmp_path / "built").mkdir()
    built = failing_calls.build(tmp_path / "built", "_recorder", INTERPRETERS[0])
    for environment in failing:
        shutil.copy(built, environment.purelib / "pythonaudit")
    return Soak(environments, failing, tmp_path / "round")


def test_soak(soak: Soak, flood: tuple[int, Path]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pid, flooded = flood
    settled: int | None = None
    begun = said = time.monotonic()
    while time.monotonic() < begun + MINUTES * 60:
        soak.round()
        assert directory_bytes(flooded) <= LIMIT_BYTES
        if settled is None and directory_bytes(flooded) > LIMIT_BYTES // 2:
            settled = resident_bytes(pid)
        assert settled is None or resident_bytes(pid) < settled + GROWTH_BYTES
        if time.monotonic() > said + 60:
            said = time.monotonic()
            print(f"{(said - begun) / 60:.0f} min: {dict(soak.sum)}", flush=True)
    journal = Journal(flooded)
    assert journal.damage() == []
    soak.sum["flood"] = sum(trail.events for trail in journal.processes()) + sum(
        loss.count for loss in journal.losses() if loss.reason == "evicted"
    )
    versions = [interpreter.version_text for interpreter in INTERPRETERS]
    print(json.dumps({"seed": SEED, "interpreters": versions, **soak.sum, "lost": 0, "torn": 0, "crashes": 0}))
