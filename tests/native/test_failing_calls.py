"""Each allocation and system call of the recorder and of the shim fails once, and all from each one on.

Whatever fails: the program's output and status are those of the program alone, what is recorded can
be read, and what is missing is counted. With ON_FAILURE=stop it is recorded or it ends with 78.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from pythonaudit.cli.interpreters import Interpreter
from tests.conftest import EXTREMES, Installed, Recording
from tests.native import failing_calls
from tests.recorded import SOAK, lost

#: Uses every part of the recorder: names kept and not, counts, stacks, threads, forks, exec, a segment
#: that grows, others after it, and a limit that lets the oldest go. Prints how many events of its own it raised.
PROGRAM = """
import os, subprocess, sys, threading

raised = 0
def audit(name, *args):
    global raised
    sys.audit(name, *args)
    raised += 1

def down(n):
    return down(n - 1) if n else audit("app.deep", n)

audit("app.first", 1, "x", {"password": "p", "amount": 1.5}, [b"x", None])
audit("User logged in: username=johndoe, ip=192.168.0.1")
for i in range(20):
    down(i)
exec("audit('app.made', compile)")
threads = [threading.Thread(target=audit, args=("app.thread", i)) for i in range(3)]
for t in threads:
    t.start()
    t.join()
for i in range(400):
    audit(f"app.large.{i}", "x" * 4000)
read, write = os.pipe()
child = os.fork()
if not child:
    before = raised
    audit("app.child")
    os.write(write, bytes([raised - before]))
    os._exit(0)
os.close(write)
raised += sum(os.read(read, 1))
print(raised, subprocess.run(["true"], env={}).returncode, flush=True)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
#: 400 events of 4 KB: more than the first segments hold, more than this lets stay.
#: CPython 3.12 and later warn of a fork while a thread that has been joined is ending.
SETTINGS = {"PYTHONAUDIT_EVENTS": "app", "PYTHONAUDIT_MAX_BYTES": "1M", "PYTHONWARNINGS": "ignore"}
#: As many calls at the very start keep the recorder out: without their memory there is none.
NOT_RECORDED = 5


@dataclass(frozen=True)
class Failed:
    """What was recorded, and what was recorded in the runtime directory since the other could not be had."""

    first: Recording
    fallback: Recording

    @property
    def completed(self) -> subprocess.CompletedProcess[str]:
        return self.first.completed

    def recordings(self) -> list[Recording]:
        """Those in which there is anything."""
        return [r for r in (self.first, self.fallback) if any(r.directory.rglob("*.pyaudit"))]


#: Which call failed, and what came of it.
Case = tuple[str, Failed]


@dataclass(frozen=True)
class Failing:
    """An environment whose native files can be made to fail."""

    environment: Installed
    settings: dict[str, str]

    def record(self, report: Path, *, at: int = 0, onward: int = 0, **settings: str) -> Failed:
        report.unlink(missing_ok=True)
        runtime = self.environment.new_directory()
        variables = self.settings | failing_calls.environment(report, at=at, onward=onward) | settings
        variables["XDG_RUNTIME_DIR"] = str(runtime)
        recording = self.environment.record(PROGRAM, settings=SETTINGS | variables, status=None)
        return Failed(recording, Recording(runtime / "pythonaudit", recording.completed))


@pytest.fixture(scope="module", params=EXTREMES)
def environment(request: pytest.FixtureRequest, install: Callable[[Interpreter], Installed]) -> Installed:
    """The oldest interpreter and the newest, each in an environment of its own."""
    return install(request.param)


@pytest.fixture(scope="module", params=["site", "preload"])
def failing(
    request: pytest.FixtureRequest, environment: Installed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Failing]:
    """Through the environment's start-up file the recorder fails; with LD_PRELOAD the shim and the recorder do."""
    package = environment.purelib / "pythonaudit"
    kept = tmp_path_factory.mktemp("kept")
    for name in ("_recorder", "_preload"):
        built = failing_calls.build(tmp_path_factory.mktemp("failing"), name, environment.interpreter)
        shutil.copy(package / built.name, kept)
        shutil.copy(built, package)
    shim = {"LD_PRELOAD": str(package / "_preload.abi3.so")} if request.param == "preload" else {}
    yield Failing(environment, shim)
    for path in kept.iterdir():
        shutil.copy(path, package)


def calls(start: int, step: int) -> Iterator[int]:
    """Numbers of calls: each one of a start, then every so many (each one where SOAK asks for much)."""
    yield from range(1, start)
    yield from count(start, 1 if SOAK > 1 else step)


def one_by_one(failing: Failing, report: Path, numbers: Iterator[int], **settings: str) -> Iterator[Case]:
    """The program again and again, with another call failing each time, until there are no more."""
    for at in numbers:
        failed = failing.record(report, at=at, **settings)
        if not report.exists():
            return
        yield f"call {at}: {report.read_text().split()}", failed


def accounted(recordings: list[Recording], raised: int) -> bool:
    """Whether the program's events are there or counted as lost, none twice.

    What cannot be read before it has to go (`missing-segments`), and of a child that could not be recorded
    (`unrecorded-child`), is known to be missing, not how much.
    """
    losses = Counter[str]()
    for recording in recordings:
        losses.update(lost(recording))
    recorded = sum(e.event.startswith(("app.", "User")) for r in recordings for e in r.journal.events())
    unknown = losses["missing-segments"] or losses["unrecorded-child"]
    return recorded <= raised and bool(unknown or recorded + losses.total() >= raised)


def test_one_call(failing: Failing, tmp_path: Path) -> None:
    bare = failing.environment.run("-c", PROGRAM).stdout
    nowhere = []
    for case, failed in one_by_one(failing, tmp_path / "report", calls(start=70, step=83)):
        done, recordings = failed.completed, failed.recordings()
        assert (done.stdout, done.stderr, done.returncode) == (bare, "", 0), case
        for recording in recordings:
            assert not list(recording.journal.damage()), case
        if recordings:
            assert accounted(recordings, int(bare.split()[0])), f"{case}: {list(map(lost, recordings))}"
        else:
            nowhere.append(case)
    assert len(nowhere) <= NOT_RECORDED, nowhere


def test_each_call_from_one_on(failing: Failing, tmp_path: Path) -> None:
    """Nothing works any more: what was recorded before is there, and the program goes on."""
    bare = failing.environment.run("-c", PROGRAM).stdout
    report = tmp_path / "report"
    for onward in calls(start=1, step=61):
        failed = failing.record(report, onward=onward)
        if not report.exists():
            return
        done = failed.completed
        assert (done.stdout, done.stderr, done.returncode) == (bare, "", 0), onward
        for recording in failed.recordings():
            assert not list(recording.journal.damage()), onward


def test_stop(failing: Failing, tmp_path: Path) -> None:
    """What cannot be recorded ends, with one line; what does not end is recorded."""
    bare = failing.environment.run("-c", PROGRAM).stdout
    stop = {"PYTHONAUDIT_ON_FAILURE": "stop"}
    stopped = 0
    for case, failed in one_by_one(failing, tmp_path / "report", calls(start=1, step=17), **stop):
        done = failed.completed
        if done.returncode == 78:
            assert done.stderr.startswith("pythonaudit: ") and done.stderr.count("\n") == 1, (case, done.stderr)
            stopped += 1
        else:
            assert (done.stdout, done.stderr, done.returncode) == (bare, "", 0), case
            assert accounted(failed.recordings(), int(bare.split()[0])), case
    assert stopped
