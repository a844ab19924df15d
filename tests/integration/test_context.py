"""Contexts of real programs: where they reach, what is written of them, and that they never hurt."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from typing import Any

import pytest

from pythonaudit.cli.interpreters import Interpreter
from tests.conftest import Installed, Recording
from tests.fault.ways import WAYS, record
from tests.recorded import SEED, is_whole, threads

BEGIN = "import os, sys, pythonaudit\nfrom pythonaudit import context\naudit = sys.audit\n"


def contexts(recording: Recording) -> dict[str, Any]:
    """The context of each event whose name begins with `app.`; each such name is raised once."""
    found: dict[str, Any] = {}
    for event in recording.journal.events():
        if event.event.startswith("app."):
            assert event.event not in found
            found[event.event[4:]] = event.context
    assert is_whole(recording)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_nesting(installed: Installed, way: str) -> None:
    program = """
audit("app.before")
with context(user="johndoe", request="r-17"):
    audit("app.outer")
    with context(request="r-18", step=2):
        audit("app.inner")
        audit("app.inner.again")
        try:
            with context(step=3):
                audit("app.innermost")
                raise ValueError
        except ValueError:
            audit("app.caught")
    audit("app.outer.again")
    with context():
        audit("app.nothing.more")
audit("app.after")
"""
    outer = {"user": "johndoe", "request": "r-17"}
    inner = {"user": "johndoe", "request": "r-18", "step": 2}
    assert contexts(record(installed, way, BEGIN + program)) == {
        "before": {},
        "outer": outer,
        "inner": inner,
        "inner.again": inner,
        "innermost": inner | {"step": 3},
        "caught": inner,
        "outer.again": outer,
        "nothing.more": outer,
        "after": {},
    }


def test_events_of_the_interpreter_have_it_too(installed: Installed) -> None:
    recording = installed.record(BEGIN + "with context(user='johndoe'): open('/dev/null').close()")
    (event,) = [e for e in recording.events("open") if e.values[0] == "/dev/null"]
    assert event.context == {"user": "johndoe"}


def test_await_and_tasks(installed: Installed) -> None:
    program = """
import asyncio
async def deeper(name):
    await asyncio.sleep(0)
    audit(f"app.{name}.deeper")
async def task(name):
    with context(task=name):
        for step in range(3):
            audit(f"app.{name}.{step}")
            await asyncio.sleep(0)
        await deeper(name)
    audit(f"app.{name}.end")
async def main():
    with context(user="johndoe"):
        await asyncio.gather(task("a"), task("b"))
        child = asyncio.create_task(deeper("c"))
    audit("app.main")
    await child
    await asyncio.get_running_loop().run_in_executor(None, audit, "app.executor")
    with context(user="jane"):
        await asyncio.to_thread(audit, "app.to_thread")
asyncio.run(main())
audit("app.after")
"""
    found = contexts(installed.record(BEGIN + program))
    for name in "ab":
        own = {"user": "johndoe", "task": name}
        assert [found.pop(f"{name}.{step}") for step in (0, 1, 2, "deeper")] == [own] * 4
        assert found.pop(f"{name}.end") == {"user": "johndoe"}
    assert found == {
        "c.deeper": {"user": "johndoe"},
        "main": {},
        "executor": {},
        "to_thread": {"user": "jane"},
        "after": {},
    }


def test_threads(installed: Installed) -> None:
    program = """
import contextvars, threading
from concurrent.futures import ThreadPoolExecutor
def run(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()
with context(user="johndoe"):
    run(contextvars.copy_context().run, audit, "app.copied")
    run(contextvars.Context().run, audit, "app.empty")
    audit("app.here")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(contextvars.copy_context().run, audit, "app.pool.copied").result()
        with context(job=2):
            pool.submit(contextvars.copy_context().run, audit, "app.pool.other").result()
        pool.submit(contextvars.Context().run, audit, "app.pool.plain").result()
        for n in range(3):
            pool.submit(contextvars.copy_context().run, audit, f"app.pool.{n}").result()
"""
    john = {"user": "johndoe"}
    found = contexts(installed.record(BEGIN + program))
    assert {name: found.pop(f"pool.{name}") for name in "012"} == dict.fromkeys("012", john)
    assert found == {
        "copied": john,
        "empty": {},
        "here": john,
        "pool.copied": john,
        "pool.other": john | {"job": 2},
        "pool.plain": {},
    }


def test_many_threads_at_once(installed: Installed) -> None:
    program = """
import threading
gate = threading.Barrier(6)
def work(me):
    gate.wait()
    for n in range(400):
        with context(worker=me, n=n):
            audit("busy", me, n)
            audit("busy", me, n)
            if n % 7 == 0:
                with context(deep="x" * (n % 300)):
                    audit("busier", me, n)
            audit("busy", me, n)
        audit("free")
them = [threading.Thread(target=work, args=(me,)) for me in range(6)]
for t in them: t.start()
for t in them: t.join()
"""
    recording = installed.record(BEGIN + program)
    events = list(recording.journal.events())
    threads(events)
    seen = 0
    for event in events:
        if event.event.startswith("bus"):
            me, n = event.values
            deep = {"deep": "x" * (n % 300)} if event.event == "busier" else {}
            assert event.context == {"worker": me, "n": n} | deep
            seen += 1
        elif event.event == "free":
            assert event.context == {}
    assert seen == 6 * (400 * 3 + 58)
    assert is_whole(recording)


def test_generators(installed: Installed) -> None:
    """Where a generator is closed by somebody else, in another context, nothing is raised."""
    program = """
import contextvars
def steps():
    with context(step=1):
        yield audit("app.first")
        yield audit("app.second")
one = steps()
next(one); next(one); list(one)
audit("app.ended")
def other():
    with context(user="other"):
        yield
        audit("app.other")
gen = other()
contextvars.copy_context().run(next, gen)
gen.close()
audit("app.closed")
"""
    step = {"step": 1}
    assert contexts(installed.record(BEGIN + program)) == {
        "first": step,
        "second": step,
        "ended": {},
        "closed": {},
    }


def test_fork(installed: Installed) -> None:
    program = """
import warnings
warnings.simplefilter("ignore")
with context(user="johndoe"):
    audit("app.parent")
    pid = os.fork()
    if pid == 0:
        audit("app.child")
        with context(child=True):
            audit("app.child.deeper")
        os._exit(0)
    os.waitpid(pid, 0)
    audit("app.parent.again")
"""
    john = {"user": "johndoe"}
    assert contexts(installed.record(BEGIN + program)) == {
        "parent": john,
        "child": john,
        "child.deeper": john | {"child": True},
        "parent.again": john,
    }


def test_a_killed_process(installed: Installed) -> None:
    program = "with context(user='johndoe'):\n    audit('app.last')\n    os.kill(os.getpid(), 9)\n"
    assert contexts(installed.record(BEGIN + program, status=-9)) == {"last": {"user": "johndoe"}}


def test_new_segments_say_it_again(installed: Installed) -> None:
    program = "with context(user='johndoe'):\n    for n in range(40000): audit('many', n, 'x' * 100)\n"
    recording = installed.record(BEGIN + program)
    assert len(list(recording.directory.rglob("*.pyaudit"))) > 1
    assert {str(event.context) for event in recording.events("many")} == {"{'user': 'johndoe'}"}


def test_values(installed: Installed) -> None:
    program = r"""
import enum, uuid
class Name(str):
    def __str__(self): raise SystemExit("asked")
    __repr__ = __hash__ = __str__
class Number(int):
    __index__ = __int__ = __repr__ = lambda self: 1 / 0
class Colour(str, enum.Enum):
    RED = "red"
class Lazy:
    def __getattr__(self, name): raise SystemExit("asked")
    __class__ = property(lambda self: 1 / 0)
with context(text="caf\xe9 \"x\"\n", small=-5, big=2**70, real=1.5, odd=float("nan"), yes=True, none=None,
             name=Name("joe"), number=Number(7), colour=Colour.RED):
    audit("app.plain")
with context(lazy=Lazy(), items=[1, 2], octets=b"abc"):
    audit("app.types")
with context(password="swordfish-9", url="https://joe:swordfish-9@example.org/", api_key=12345678):
    audit("app.secret")
with context(long="x" * 10000):
    audit("app.long")
with context(**{f"field{n:03}": n for n in range(500)}):
    audit("app.many")
with context(**{"k" * 9000: 1}):
    audit("app.key")
with context(**{"self": 1, "fields": 2, "\udcff": "\udcff"}):
    audit("app.names")
audit("app.after")
"""
    recording = installed.record(BEGIN + program)
    found = contexts(recording)
    notes = {e.event[4:]: set(e.notes) for e in recording.journal.events() if e.event.startswith("app.")}
    assert found.pop("plain") == {
        "text": 'caf\xe9 "x"\n',
        "small": -5,
        "big": {"$int": hex(2**70)},
        "real": 1.5,
        "odd": {"$float": "nan"},
        "yes": True,
        "none": None,
        "name": "joe",
        "number": 7,
        "colour": "red",
    }
    assert not notes["plain"]
    assert found.pop("types") == {"lazy": "<Lazy>", "items": "<list>", "octets": "<bytes>"}
    assert notes["types"] == {"context-cut"}
    assert found.pop("secret") == {"password": "***", "url": "https://***@example.org/", "api_key": "***"}
    assert notes["secret"] == {"masked"}
    long = found.pop("long")["long"]
    assert 3900 < len(long) < 4096 and set(long) == {"x"}
    many = found.pop("many")
    assert many.pop("$more") == 500 - len(many)
    assert many == {f"field{n:03}": n for n in range(len(many))}
    assert found.pop("key") == {}
    assert found.pop("names") == {"self": 1, "fields": 2, "\\udcff": {"$wtf8": "7bO/"}}
    assert [notes[name] for name in ("long", "many", "key", "after")] == [{"context-cut"}] * 3 + [set()]
    assert found == {"after": {}}


@pytest.mark.parametrize("thread", [False, True], ids=["main", "thread"])
def test_other_interpreters(installed: Installed, thread: bool) -> None:
    """Each has contexts of its own; one that ends leaves the others theirs, and what follows is of none."""
    program = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
inner = '''
import sys
from pythonaudit import context
sys.audit("app.{0}.before")
with context(inner={0}):
    sys.audit("app.{0}.within")
sys.audit("app.{0}.after")
'''
def run():
    with context(user="johndoe"):
        for n in range(3):
            audit(f"app.{n}.outside")
            name = interpreters.create()
            interpreters.run_string(name, inner.format(n))
            audit(f"app.{n}.between")  # so that the end of the other one is the first event there since
            interpreters.destroy(name)
            audit(f"app.{n}.outside.again")
"""
    program += "import threading\nt = threading.Thread(target=run); t.start(); t.join()" if thread else "run()"
    found = contexts(installed.record(BEGIN + program))
    for n in range(3):
        outside = [found.pop(f"{n}.{when}") for when in ("outside", "between", "outside.again")]
        assert outside == [{"user": "johndoe"}] * 3
        assert found.pop(f"{n}.within") == {"inner": n}
        assert found.pop(f"{n}.before") == found.pop(f"{n}.after") == {}
    assert found == {}


@pytest.mark.parametrize("value", ["0", ""])
def test_nothing_is_done_where_nothing_is_recorded(installed: Installed, value: str) -> None:
    program = """
import sys
before = set(sys.modules)
import pythonaudit
assert set(sys.modules) - before == {"pythonaudit"}, set(sys.modules) - before
with pythonaudit.context(user="johndoe") as one:
    with pythonaudit.context(user=object()):
        import contextvars
        assert not list(contextvars.copy_context())
assert set(sys.modules) - before <= {"pythonaudit", "pythonaudit._recorder", "pythonaudit.recorder",
                                     "pythonaudit.recorder.context", "contextvars", "_contextvars"}
try:
    pythonaudit.no_such_thing
except AttributeError as error:
    assert "no_such_thing" in str(error)
"""
    installed.run("-c", program, env=installed.environment(PYTHONAUDIT=value))


def test_a_context_is_none_of_the_application_s(installed: Installed) -> None:
    """Whoever finds the variable can put anything into it: then there is no context."""
    program = """
import contextvars
with context(user="johndoe"):
    (variable,) = contextvars.copy_context()
    kind = type(variable.get())
    for attempt in (kind, lambda: kind.__new__(kind), lambda: setattr(kind, "user", 1)):
        try:
            attempt()
        except TypeError:
            pass
        else:
            raise SystemExit("a context can be forged")
    token = variable.set("forged")
    audit("app.forged")
    with context(more=1):
        audit("app.more")
    variable.reset(token)
    audit("app.again")
"""
    assert contexts(installed.record(BEGIN + program)) == {
        "forged": {},
        "more": {"more": 1},
        "again": {"user": "johndoe"},
    }


def test_a_veto_costs_the_context_only(installed: Installed) -> None:
    program = """
import sys
def veto(event, args):
    if event == "sys.addaudithook":
        raise RuntimeError
sys.addaudithook(veto)
from pythonaudit.recorder import startup, status
startup.start()
assert status()["state"] == "vetoed"
from pythonaudit import context
with context(user="johndoe"):
    pass
"""
    settings = {"PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": str(installed.new_directory())}
    installed.run(
        "-S",
        "-c",
        f"import sys; sys.path.append({str(installed.purelib)!r})\n" + program,
        env=installed.environment(**settings),
    )


def test_a_recorder_of_another_installation(
    installed: Installed, install: Callable[[Interpreter], Installed]
) -> None:
    """`pythonaudit run` of one environment, and a program that imports the package of another."""
    other = install(installed.interpreter)
    program = """
from pythonaudit import _recorder
assert _recorder.__file__.startswith(sys.prefix)
audit("app.before")
with context(user="johndoe"):
    audit("app.within")
    with context(step=1):
        audit("app.deeper")
audit("app.after")
"""
    recording = record(installed, "preload", [other.python, "-c", BEGIN + program])
    assert recording.completed.returncode == 0, recording.completed.stderr
    assert contexts(recording) == {
        "before": {},
        "within": {"user": "johndoe"},
        "deeper": {"user": "johndoe", "step": 1},
        "after": {},
    }


def test_killed_at_any_instant(installed: Installed) -> None:
    """Each event that was committed is in its own context, and in no other."""
    chance = random.Random(SEED)
    program = """
import signal
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))
for n in range(10**9):
    with context(n=n):
        audit("app.one", n)
        with context(m=n):
            audit("app.two", n)
    audit("app.none", n)
"""
    for _ in range(5):
        delay = str(chance.uniform(0.001, 0.08))
        recording = installed.record(["-c", BEGIN + program, delay], status=-signal.SIGALRM)
        for event in recording.journal.events():
            if event.event.startswith("app."):
                (n,) = event.values
                wanted = {"app.one": {"n": n}, "app.two": {"n": n, "m": n}, "app.none": {}}
                assert event.context == wanted[event.event]
        assert is_whole(recording)
