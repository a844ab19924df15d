"""The clock is set while a program runs: the order of events stays what it was, and so does what is oldest."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pythonaudit.journal.reader import Journal
from tests.conftest import Installed, Recording
from tests.fault.troubles import kept_numbers
from tests.fault.ways import OLDEST_AND_NEWEST, ROOT_ONLY, record, record_beside, words_of
from tests.recorded import lost, threads

SOURCE = Path(__file__).with_name("set_clock.c")
HOUR = 3600
PROGRAM = """
import ctypes, sys, threading, time
clock = ctypes.CDLL({clock!r})
def raise_events(numbers, audit=sys.audit):
    for n in numbers:
        audit("app.event", n, "x" * 900)
"""


@pytest.fixture(scope="session")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared object."""
    built = tmp_path_factory.mktemp("clock") / "clock.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", built, SOURCE], check=True)
    return built


def record_set(
    installed: Installed, way: str, clock: Path, program: str, settings: dict[str, str | Path] | None = None
) -> Recording:
    """Records it; it may set its clock."""
    settings = {"PYTHONAUDIT_EVENTS": "app", "LD_PRELOAD": clock} | (settings or {})
    return record_beside(installed, way, PROGRAM.format(clock=str(clock)) + program, settings)


@OLDEST_AND_NEWEST
@pytest.mark.parametrize("by", [-HOUR, HOUR])
def test_order(installed: Installed, way: str, clock: Path, by: int) -> None:
    """Also over the segments that follow, whose names begin with the time."""
    program = f"""
raise_events(range(50))
clock.set_clock({by})
raise_events(range(50, 12000))
clock.set_clock({-by})
raise_events(range(12000, 24000))
"""
    recording = record_set(installed, way, clock, program)
    assert kept_numbers(recording) == list(range(24000))
    threads(recording.journal.events())
    assert lost(recording) == {}


@OLDEST_AND_NEWEST
def test_order_of_threads(installed: Installed, way: str, clock: Path) -> None:
    """Each thread's own is exact, with a clock that goes to and fro; between them it is that of time."""
    program = """
turns = [threading.Semaphore(1), threading.Semaphore(0)]
def take_turns(which):
    for n in range(3000):
        turns[which].acquire()
        if n % 500 == 250:
            clock.set_clock(-3600 * (n % 1000 > 500))
        raise_events([2 * n + which])
        turns[1 - which].release()
others = [threading.Thread(target=take_turns, args=(which,)) for which in range(2)]
for thread in others: thread.start()
for thread in others: thread.join()
"""
    recording = record_set(installed, way, clock, program)
    kept = kept_numbers(recording)
    assert [n for n in kept if n % 2 == 0] == list(range(0, 6000, 2))
    assert [n for n in kept if n % 2 == 1] == list(range(1, 6000, 2))
    assert lost(recording) == {}


@OLDEST_AND_NEWEST
def test_what_is_oldest(installed: Installed, way: str, clock: Path) -> None:
    """What goes to make room is what was recorded first, whatever the clock said then."""
    program = """
raise_events(range(6000))
clock.set_clock(-3600)
raise_events(range(6000, 24000))
"""
    recording = record_set(installed, way, clock, program, {"PYTHONAUDIT_MAX_BYTES": "8M"})
    kept = kept_numbers(recording)
    assert kept == list(range(kept[0], 24000))
    assert lost(recording)["evicted"] == kept[0]


@ROOT_ONLY
def test_another_time_namespace(installed_here: Installed, way: str, tmp_path: Path) -> None:
    """Its clocks began elsewhere, and yet it lives: nobody takes its segment for one of the dead."""
    apart = ["unshare", "--time", "--boottime", "100000", "--monotonic", "5000", "--fork"]
    if subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("no time namespace can be made here")
    program = "import sys; sys.audit('app.event', 0); print(flush=True); input(); sys.audit('app.event', 1)"
    directory = tmp_path / "audit"
    words = [*words_of(installed_here, way, directory), *apart, str(installed_here.python), "-c", program]
    settings = {"PYTHONAUDIT_EVENTS": "app"}
    if way == "site":
        settings |= {"PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": str(directory)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        words, stdin=pipe, stdout=pipe, env=installed_here.environment(**settings), text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (trail,) = Journal(directory).processes()
        assert trail.process.is_running
        others: dict[str, str | Path] = {"PYTHONAUDIT_EVENTS": "app", "PYTHONAUDIT_MAX_BYTES": "1M"}
        flood = "import sys\nfor n in range(5000): sys.audit('app.other', n, 'x' * 900)"
        recording = record(installed_here, "site", flood, others, directory)
        assert lost(recording)["evicted"]
        process.communicate("\n")
    journal = Journal(directory)
    assert [e.values for e in journal.events() if e.event == "app.event"] == [[0], [1]]
    assert trail.process.id in {t.process.id for t in journal.processes() if t.ended}


@OLDEST_AND_NEWEST
def test_after_a_long_silence_another_segment_is_begun(installed: Installed, way: str, clock: Path) -> None:
    """Others may have taken the process for dead, and removed what it was writing to."""
    program = f"""
import glob, os
box = os.environ["BOX"]
raise_events(range(10))
(first,) = glob.glob(box + "/*.pyaudit")
os.unlink(first)
clock.pass_time({13 * HOUR})
numbers = iter(range(10, 1 << 60))
while not glob.glob(box + "/*.pyaudit"):  # an anchor is due 2^24 ticks after the last
    raise_events([next(numbers)])
last = next(numbers)
raise_events([last])
print(last)
"""
    directory = installed.new_directory()
    box = directory / "journal" / f"u{os.geteuid()}"
    settings: dict[str, str | Path] = {"PYTHONAUDIT_EVENTS": "app", "LD_PRELOAD": clock, "BOX": box}
    program = PROGRAM.format(clock=str(clock)) + program
    recording = record(installed, way, program, settings, directory)
    assert recording.completed.returncode == 0, recording.completed.stderr
    assert kept_numbers(recording)[-1] == int(recording.completed.stdout)
