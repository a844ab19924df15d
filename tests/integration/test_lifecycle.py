"""Where in the life of a process, and by whom, an event is raised makes no difference.

Threads of every kind, subinterpreters, event loops, signal handlers and the end of the interpreter.
What belongs to several processes is in test_processes.py.
"""

from __future__ import annotations

import json

import pytest

from tests.conftest import Installed
from tests.recorded import SOAK, is_whole, threads

# The module of subinterpreters, whatever this version calls it, and how it makes one.
INTERPRETERS = """
import sys
try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as _interpreters

def run(interpreter, code):
    failed = _interpreters.run_string(interpreter, code)
    assert failed is None, failed
"""


def test_thread_order(installed: Installed) -> None:
    """Many threads at once: each has its own numbers, its events in order, and its kernel id."""
    program = """
import sys, threading
sys.setswitchinterval(1e-5)
start = threading.Barrier(8)
def work(name):
    start.wait()
    for n in range(2000):
        sys.audit("work", name, n, threading.get_native_id())
threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
for t in threads: t.start()
for t in threads: t.join()
"""
    recording = installed.record(program)
    found = {}
    for thread in threads(recording.journal.events()).values():
        mine = [e for e in thread if e.event == "work"]
        if mine:
            name, _, tid = mine[0].values
            assert [e.values for e in mine] == [[name, n, tid] for n in range(2000)]
            assert {e.tid for e in thread} == {tid}
            found[name] = thread
    assert sorted(found) == list(range(8))
    assert is_whole(recording)


def test_short_threads(installed: Installed) -> None:
    """Threads that end leave their place to later ones: many of them take little room and lose nothing."""
    count = 2000 * SOAK
    program = f"""
import sys, threading
for n in range({count}):
    t = threading.Thread(target=sys.audit, args=("short", n))
    t.start()
    t.join()
"""
    recording = installed.record(program)
    short = recording.events("short")
    assert sorted(e.values[0] for e in short) == list(range(count))
    assert len({e.thread.slot for e in short}) == count
    assert len(threads(recording.journal.events())) == count + 1
    assert is_whole(recording)
    assert sum(f.stat().st_size for f in recording.directory.rglob("*.pyaudit")) < 1000 * count + (1 << 20)


def test_small_stacks(installed: Installed) -> None:
    """A thread may have 32 KiB in all, on 3.14 52: recording must not need what it has left."""
    program = """
import sys, threading
threading.stack_size(32768 if sys.version_info < (3, 14) else 53248)
def work():
    for n in range(5000):
        sys.audit(f"small.{n}", n, {"key": [1, (2, {"b": [{"c": "password=x"}]})]}, "x" * 3000)
    sys.audit("subprocess.Popen", "mysql", ["mysql", "-psecret"], None, {"A": "b"})
    sys.audit("small")
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
    recording = installed.record(program)
    assert len(recording.events("small")) == 1
    assert is_whole(recording)


def test_interpreters_in_turn(installed: Installed) -> None:
    """One thread goes in and out of interpreters, which come and go."""
    program = (
        INTERPRETERS
        + """
for turn in range(20):
    these = [_interpreters.create() for _ in range(3)]
    for again in range(3):
        for interpreter in these:
            run(interpreter, f"import sys; sys.audit('inside', {turn}, {int(interpreter)})")
        sys.audit("outside", turn)
    for interpreter in these:
        _interpreters.destroy(interpreter)
"""
    )
    recording = installed.record(program)
    assert [e.values[0] for e in recording.events("outside")] == [t for t in range(20) for _ in range(3)]
    inside = recording.events("inside")
    assert [e.values[0] for e in inside] == [t for t in range(20) for _ in range(9)]
    assert [e.interpreter for e in inside] == [e.values[1] for e in inside]
    assert {e.interpreter for e in recording.events("outside")} == {0}
    assert len(threads(recording.journal.events())) == 1
    assert is_whole(recording)


def test_interpreters_in_parallel(installed: Installed) -> None:
    """On 3.12 and later each has its own GIL: several threads are really inside the hook at once."""
    count = 5000 * SOAK
    program = (
        INTERPRETERS
        + f"""
import threading
CODE = '''
import sys
def deep(levels, *args):
    if levels:
        return deep(levels - 1, *args)
    sys.audit(*args)
for n in range({count}):
    deep(n % 5, "parallel" if n % 2 else f"Message of {{me}}: n={{n}}", me, n, "x" * (n % 200))
'''
these = [_interpreters.create() for _ in range(4)]
threads = [threading.Thread(target=run, args=(i, f"me = {{int(i)}}\\n" + CODE)) for i in these]
for t in threads: t.start()
for t in threads: t.join()
for i in these: _interpreters.destroy(i)
"""
    )
    recording = installed.record(program)
    found = {}
    for thread in threads(recording.journal.events()).values():
        mine = [e for e in thread if e.event == "parallel" or e.event.startswith("Message")]
        if not mine:
            continue
        me = mine[0].values[0]
        assert [e.values for e in mine] == [[me, n, "x" * (n % 200)] for n in range(count)]
        assert [e.event for e in mine[::2]] == [f"Message of {me}: n={n}" for n in range(0, count, 2)]
        assert {e.interpreter for e in mine} == {me}
        assert all(len(e.stack) == n % 5 + 2 for n, e in enumerate(mine))
        found[me] = thread
    assert len(found) == 4
    assert is_whole(recording)


def test_an_interpreter_does_not_stop_the_process(installed: Installed) -> None:
    """PYTHONAUDIT_ON_FAILURE=stop is about processes that are not recorded; an interpreter of one that is, is."""
    program = INTERPRETERS + "run(_interpreters.create(), 'import sys; sys.audit(\"inside\")')"
    recording = installed.record(program, settings={"PYTHONAUDIT_ON_FAILURE": "stop"})
    assert len(recording.events("inside")) == 1


def test_asyncio(installed: Installed) -> None:
    program = """
import asyncio, sys
async def inner(task, n):
    await asyncio.sleep(0)
    sys.audit("task", task, n)
async def outer(task):
    for n in range(50):
        await inner(task, n)
async def main():
    await asyncio.gather(*(outer(task) for task in range(4)))
    await asyncio.to_thread(sys.audit, "from a thread")
asyncio.run(main())
"""
    recording = installed.record(program)
    tasks = recording.events("task")
    for task in range(4):
        assert [e.values[1] for e in tasks if e.values[0] == task] == list(range(50))
    assert all([f for _, _, f in e.stack[:2]] == ["inner", "outer"] for e in tasks)
    (other,) = recording.events("from a thread")
    assert other.thread.slot != tasks[0].thread.slot


def test_the_end_of_the_interpreter(installed: Installed) -> None:
    """atexit, threads that are still there, finalizers: to the last event that the interpreter raises."""
    program = """
import atexit, sys, threading, weakref

class Finalized:
    def __init__(self, name):
        self.name = name
    def __del__(self, audit=sys.audit):
        audit("finalized", self.name)

of_module = Finalized("module")
cycle = Finalized("cycle")
cycle.me = cycle
del cycle
watched = Finalized("weakref")
weakref.finalize(watched, sys.audit, "weakref.finalize")
atexit.register(sys.audit, "atexit", "first registered")
atexit.register(sys.audit, "atexit", "last registered")
after = threading.Thread(target=lambda: (threading.main_thread().join(), sys.audit("after main")))
after.start()
sys.audit("end of main")
"""
    recording = installed.record(program)
    by_name: dict[str, list[str]] = {}
    for event in recording.events():
        by_name.setdefault(event.event, []).append(str(event.values[0]) if event.values else "")
    assert by_name["atexit"] == ["last registered", "first registered"]
    assert sorted(by_name["finalized"]) == ["cycle", "module", "weakref"]
    assert len(by_name["weakref.finalize"]) == 1
    assert len(by_name["after main"]) == 1
    main = threads(recording.journal.events())[f"{recording.events('end of main')[0].process.id}/1"]
    names = [e.event for e in main]
    assert names.index("end of main") < names.index("atexit") < names.index("cpython.PyInterpreterState_Clear")
    assert names[-1] == "cpython._PySys_ClearAuditHooks"
    (trail,) = recording.journal.processes()
    assert trail.ended
    assert is_whole(recording)


def test_daemon_threads_at_the_end(installed: Installed) -> None:
    """Python stops them wherever they are; what they had raised is there."""
    program = """
import atexit, sys, threading
begun = threading.Barrier(4)
counted = [0] * 3
def daemon(me):
    begun.wait()
    while True:
        sys.audit("daemon", me, counted[me])
        counted[me] += 1
        sum(range(2000))
for me in range(3):
    threading.Thread(target=daemon, args=(me,), daemon=True).start()
begun.wait()
while min(counted) < 100:
    pass
atexit.register(lambda: sys.audit("counted", *counted))
"""
    recording = installed.record(program)
    (counted,) = recording.events("counted")
    raised = [e.values for e in recording.events("daemon")]
    for me, count in enumerate(counted.values):
        mine = [n for who, n in raised if who == me]
        assert mine == list(range(len(mine)))
        assert len(mine) >= count
    (trail,) = recording.journal.processes()
    assert trail.ended
    assert is_whole(recording)


@pytest.mark.parametrize(
    ("ending", "status"),
    [("sys.exit(5)", 5), ("raise SystemExit", 0), ("raise ValueError('seen')", 1), ("sys.exit('said')", 1)],
)
def test_clean_ends(installed: Installed, ending: str, status: int) -> None:
    recording = installed.record(f"import sys\nsys.audit('last')\n{ending}", status=status)
    (trail,) = recording.journal.processes()
    assert trail.ended
    assert len(recording.events("last")) == 1


def test_hook_of_a_trace_function_and_of_the_collector(installed: Installed) -> None:
    """Code that CPython runs by itself, in the middle of something else."""
    program = """
import gc, sys
def tracer(frame, kind, arg):
    sys.audit("trace", kind)
    return tracer
def collected(phase, info):
    sys.audit("collector", phase)
gc.callbacks.append(collected)
def traced():
    gc.collect()
sys.settrace(tracer)
traced()
sys.settrace(None)
"""
    recording = installed.record(program)
    assert [e.values[0] for e in recording.events("trace")][:2] == ["call", "line"]
    assert {"start", "stop"} <= {e.values[0] for e in recording.events("collector")}
    assert is_whole(recording)


def test_events_raised_while_an_event_is_raised(installed: Installed) -> None:
    """Another hook, of Python, may itself raise events: they come after the one that it was called for."""
    program = """
import sys
def hook(name, args):
    if name == "outer":
        sys.audit("inner", *args)
sys.addaudithook(hook)
for n in range(100):
    sys.audit("outer", n)
"""
    recording = installed.record(program)
    seen = [(e.event, e.values[0]) for e in recording.events() if e.event in ("outer", "inner")]
    assert seen == [(name, n) for n in range(100) for name in ("outer", "inner")]


def test_what_the_process_says_of_itself(installed: Installed) -> None:
    program = """
import json, os, sys, threading
print(json.dumps([os.getpid(), os.getppid(), os.geteuid(), threading.get_native_id()]))
print(json.dumps([os.getcwd(), sys.version.split()[0], os.path.realpath(sys.executable)]))
"""
    recording = installed.record(["-c", program, "a word", "--password=hidden"])
    (pid, ppid, uid, tid), (cwd, version, exe) = map(json.loads, recording.completed.stdout.splitlines())
    (trail,) = recording.journal.processes()
    process = trail.process
    assert (process.pid, process.ppid, process.uid, process.cwd) == (pid, ppid, uid, cwd)
    assert (process.python, process.exe) == (version, exe)
    assert process.argv == ["-c", program, "a word", "--password=***"]
    assert (process.way, process.canary, process.parent) == ("site", True, None)
    assert {e.tid for e in recording.events()} == {tid}
    began = process.attributes["began"]
    assert began["way"] == "site"
    assert {"site", "os", "sys"} <= set(began["modules"])
    assert began["pth"] == []
