"""As many as can be: short processes, short threads, signals, calls."""

from __future__ import annotations

from tests.conftest import Installed
from tests.fault.ways import OLDEST_AND_NEWEST, record_beside
from tests.recorded import is_whole, threads

PROCESSES, THREADS = 5_000, 50_000

SHORT_PROCESSES = f"""
import os, sys
for n in range({PROCESSES}):
    if not os.fork():
        sys.audit("short", n)
        os._exit(n % 256)
    if n % 50 == 49:
        print(sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(50)))
"""

SHORT_THREADS = f"""
import queue, sys, _thread
ended = queue.SimpleQueue()
def work(n):
    sys.audit("short", n)
    ended.put(n)
for n in range({THREADS}):
    _thread.start_new_thread(work, (n,))
    if n % 20 == 19:
        for _ in range(20):
            ended.get()
print("done")
"""

SIGNALS = """
import itertools, signal, sys
handled, numbers = 0, itertools.count()
def handler(number, frame):
    global handled
    handled = next(numbers)
    sys.audit("handler", handled)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
n = 0
while handled < 500:
    sys.audit("loop", n, "x" * 100)
    if n % 100 == 0:
        open("/dev/null").close()
    n += 1
signal.setitimer(signal.ITIMER_REAL, 0)
sys.audit("told", next(numbers), n)
"""

DEEP = """
import sys, threading
def fall(n):
    sys.audit("deep", n)
    fall(n + 1)
def work(limit, room):
    sys.setrecursionlimit(limit)
    def run():
        try:
            fall(0)
        except RecursionError as error:
            print(type(error).__name__)
    threading.stack_size(room)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
work(1000, 0)
work(20_000, 256 << 20)
work(1000, 1 << 20)
print("alive")
"""


def test_short_processes(installed_here: Installed, way: str) -> None:
    recording = record_beside(installed_here, way, SHORT_PROCESSES)
    short = recording.events("short")
    assert sorted(e.values[0] for e in short) == list(range(PROCESSES))
    assert len({e.process.id for e in short}) == PROCESSES
    assert is_whole(recording)


def test_short_threads(installed_here: Installed, way: str) -> None:
    """Chunks of those that have ended are used again: 50 000 take no more than their events do."""
    recording = record_beside(installed_here, way, SHORT_THREADS)
    short = recording.events("short")
    assert sorted(e.values[0] for e in short) == list(range(THREADS))
    assert len({e.thread.slot for e in short}) == THREADS
    assert is_whole(recording)
    assert sum(f.stat().st_size for f in recording.directory.rglob("*.pyaudit")) < 500 * THREADS


def test_signals(installed: Installed, way: str) -> None:
    """A handler of Python runs every 100 µs, also while another event is on its way."""
    recording = record_beside(installed, way, SIGNALS)
    ((handled, looped),) = [e.values for e in recording.events("told")]
    # A handler can interrupt another one between its number and its event.
    assert sorted(e.values[0] for e in recording.events("handler")) == list(range(handled))
    assert [e.values[0] for e in recording.events("loop")] == list(range(looped))
    assert len(threads(recording.journal.events())) == 1
    assert is_whole(recording)


@OLDEST_AND_NEWEST
def test_stack_nearly_exhausted(installed: Installed, way: str) -> None:
    """To the end of what Python allows itself, on large stacks and small: as deep as without us."""
    recording = record_beside(installed, way, DEEP)
    assert recording.completed.stdout == 3 * "RecursionError\n" + "alive\n"
    deep = [e.values[0] for e in recording.events("deep")]
    begins = [at for at, n in enumerate(deep) if n == 0]
    assert len(begins) == 3
    assert all(n == deep[at - 1] + 1 for at, n in enumerate(deep) if n)
    assert max(deep) > 10_000
    assert is_whole(recording)
