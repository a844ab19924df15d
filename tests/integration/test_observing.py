"""Being recorded changes nothing that a program can see, but for what is said to change."""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Installed, Recording
from tests.recorded import is_whole

#: What recording adds to `sys.modules`.
MODULES = {"pythonaudit", "pythonaudit._recorder", "pythonaudit.recorder", "pythonaudit.recorder.startup"}


def both_ways(installed: Installed, arguments: list[str | Path], **options: object) -> tuple[str, str, int]:
    """Runs it without and with recording; they must end alike. Gives what it wrote and how it ended."""
    plain = installed.run(*arguments, status=None, **options)
    recording = installed.record(arguments, status=None, **options)
    done = recording.completed
    stderr = [re.sub(r"0x[0-9a-f]+", "0x...", text) for text in (plain.stderr, done.stderr)]
    shown = difflib.unified_diff(
        plain.stdout.splitlines(), done.stdout.splitlines(), "off", "on", lineterm="", n=0
    )
    assert list(shown) == []
    assert (stderr[1], done.returncode) == (stderr[0], plain.returncode)
    assert recording.events()
    assert is_whole(recording)
    return done.stdout, done.stderr, done.returncode


FACTS = """
import atexit, codecs, decimal, gc, json, locale, os, resource, signal, sys, threading, time, traceback, warnings

def descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}").partition(":")[0]
        except OSError:
            pass  # the one that listed them
    return found

def status():
    keys = ("SigQ", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "Umask", "Uid", "Gid", "Groups", "Threads", "NoNewPrivs")
    with open("/proc/self/status") as lines:
        found = {k: v.strip() for k, _, v in (line.partition(":") for line in lines) if k in keys[1:]}
    found["SigCgt"] = f"{int(found['SigCgt'], 16) & ~(1 << signal.SIGBUS - 1):x}"  # ours, where it is nobody's
    return found

def facts():
    return {
        "descriptors": descriptors(),
        "status": status(),
        "tasks": len(os.listdir("/proc/self/task")),
        "signals": [str(signal.getsignal(s)) for s in sorted(signal.valid_signals())],
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "timers": [signal.getitimer(t) for t in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)],
        "wakeup": signal.set_wakeup_fd(-1),
        "environment": {k: v for k, v in os.environ.items() if not k.startswith("PYTHONAUDIT")},
        "flags": str(sys.flags),
        "path": sys.path,
        "argv": [sys.argv, sys.orig_argv, sys.executable, sys.prefix],
        "modules": sorted(sys.modules),
        "threads": [threading.active_count(), threading.stack_size(), [t.name for t in threading.enumerate()]],
        "garbage": [gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.garbage, len(gc.callbacks)],
        "hooks": [str(h) for h in (sys.gettrace(), sys.getprofile(), sys.excepthook is sys.__excepthook__,
                  sys.unraisablehook is sys.__unraisablehook__, sys.displayhook is sys.__displayhook__)],
        "importers": [str(type(f)) for f in sys.meta_path] + [getattr(f, "__name__", str(f)) for f in sys.path_hooks],
        "limits": [sys.getrecursionlimit(), sys.getswitchinterval()],
        "resources": [resource.getrlimit(getattr(resource, n)) for n in dir(resource) if n.startswith("RLIMIT_")],
        "filters": [str(f) for f in warnings.filters],
        "builtins": sorted(vars(__builtins__)),
        "encodings": [sys.getfilesystemencoding(), locale.getpreferredencoding(False), sys.stdout.encoding],
        "standard": [str(type(s)) + s.mode + str(s.line_buffering) for s in (sys.stdin, sys.stdout, sys.stderr)],
        "cwd": os.getcwd(),
        "exits": atexit._ncallbacks(),
        "zone": time.tzname,
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "frame": [sys._getframe().f_lineno, len(traceback.extract_stack())],
    }

for n in range(5000):  # through growth of every kind
    sys.audit(f"observed.{n}", "x" * (n % 300))
print(json.dumps(facts(), indent=1, default=str))
"""


def test_facts(installed: Installed) -> None:
    program = FACTS.replace("sorted(sys.modules)", f"sorted(set(sys.modules) - {MODULES!r})")
    said, _, _ = both_ways(installed, ["-c", program])
    assert len(json.loads(said)) > 20


def test_modules(installed: Installed) -> None:
    program = "import sys; print(*sys.modules)"
    plain, recorded = installed.run("-c", program), installed.record(program).completed
    assert set(recorded.stdout.split()) - set(plain.stdout.split()) == MODULES


HOOKS = """
import sys
seen = []

def first(name, args):
    if name.startswith("hooks."):
        seen.append(("first", name, args))
    if name == "hooks.runtime":
        raise RuntimeError("refused")
    if name == "hooks.value":
        raise ValueError("refused")
    if name == "hooks.exit":
        raise SystemExit(3)

def second(name, args):
    if name.startswith("hooks."):
        seen.append(("second", name, args))

def refuses(error):
    def hook(name, args):
        if name == "sys.addaudithook" and active[0] is error:
            raise error("no more")
    return hook

def attempt(function, *args):
    try:
        return function(*args)
    except BaseException as error:
        return repr(error)

active = [None]
sys.addaudithook(first)
sys.addaudithook(second)
for name in ("hooks.plain", "hooks.runtime", "hooks.value", "hooks.exit"):
    print(attempt(sys.audit, name, 1, "two", None))
print(seen)
for error in (RuntimeError, ValueError, KeyboardInterrupt):
    active[0] = None
    sys.addaudithook(refuses(error))
    active[0] = error
    third = []
    print(attempt(sys.addaudithook, lambda name, args: third.append(name)))
    active[0] = None
    sys.audit("hooks.third")
    print("hooks.third" in third)
print(attempt(sys.addaudithook), attempt(sys.addaudithook, None), attempt(sys.audit), attempt(open, "/nowhere"))
"""


def test_hooks_of_others(installed: Installed) -> None:
    """They are called, in their order, may refuse, and what they refuse is recorded: an event is an attempt."""
    both_ways(installed, ["-c", HOOKS])
    recording = installed.record(HOOKS)
    names = [e.event for e in recording.events() if e.event.startswith("hooks.")]
    assert names == ["hooks.plain", "hooks.runtime", "hooks.value", "hooks.exit", *["hooks.third"] * 3]


ENDINGS = {
    "a traceback": "def f():\n open('/nowhere/at/all')\nf()",
    "a chain of tracebacks": "try:\n 1/0\nexcept Exception as e:\n raise KeyError('again') from e",
    "an exception group": "import asyncio\nasync def f(): raise ValueError('x')\nasyncio.run(f())",
    "a warning": "import warnings\nwarnings.warn('careful')\nimport sys; sys.exit(9)",
    "an exception nobody can handle": "class A:\n def __del__(self): raise ValueError('late')\na = A()",
    "an exception at exit": "import atexit\natexit.register(lambda: 1/0)",
    "an exception in a thread": "import threading\nt = threading.Thread(target=lambda: 1/0, name='T')\nt.start()\nt.join()",
    "a syntax error": "def",
    "a deep recursion": "import sys\nsys.setrecursionlimit(60)\nsys.tracebacklimit = 1\ndef f(): f()\nf()",
    "a keyboard interrupt": "import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "os.kill(os.getpid(), signal.SIGINT)\nsignal.pause()",
    "closed standard streams": "import os\nos.close(1)\nos.close(2)\nopen('/dev/null')\nos._exit(4)",
    "output cut off": "print('x' * 100000)\nimport os\nos._exit(6)",
    "a broken pipe": "import os\nr, w = os.pipe()\nos.close(r)\nos.write(w, b'x')",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_endings(installed: Installed, ending: str) -> None:
    both_ways(installed, ["-c", ENDINGS[ending]])


def test_values_are_left_alone(installed: Installed) -> None:
    """No reference is kept, nothing is allocated through Python, and no method of anybody's is called."""
    program = """
import sys

class Hostile:
    def fail(self, *args, **kwargs):
        print("called")
        raise SystemExit("called")
    __repr__ = __str__ = __hash__ = __eq__ = __len__ = __iter__ = __index__ = __bool__ = __getattribute__ = fail
    __bytes__ = __fspath__ = __format__ = __call__ = __getitem__ = __contains__ = __int__ = __float__ = fail

def hostile(kind):
    return type("Hostile" + kind.__name__, (kind,), {k: v for k, v in vars(Hostile).items() if k.startswith("__") and
                k not in ("__dict__", "__weakref__", "__module__", "__doc__")})

values = [object(), "text" * 9, b"bytes" * 9, 2**70, 1.5, [1, 2], {"a": [1]}, (1, "b"), {1, 2}]
values += [Hostile()] + [kind.__new__(hostile(kind)) for kind in (str, bytes, int, float, list, dict, tuple, set)]
before = [sys.getrefcount(v) for v in values]
for again in range(3):
    for value in values:
        sys.audit("values", value, [value], {"key": value})
del value
assert [sys.getrefcount(v) for v in values] == before
args = (values, "text")

def many():
    for n in range(1000):
        sys.audit("values", *args)

many()
blocks = sys.getallocatedblocks()
many()
assert sys.getallocatedblocks() - blocks <= 2, sys.getallocatedblocks() - blocks
print("fine")
"""
    said, complained, _ = both_ways(installed, ["-c", program])
    assert (said, complained) == ("fine\n", "")


def test_a_pending_error_is_left_alone(installed: Installed) -> None:
    """errno, and the exception that is being handled, are what they were before the event."""
    program = """
import ctypes, sys, threading
audit = ctypes.PyDLL(None, use_errno=True).PySys_Audit
audit.argtypes = [ctypes.c_char_p, ctypes.c_char_p]

def check(first, last):
    for n in range(first, last):
        ctypes.set_errno(77)
        assert audit(b"errno.%d" % n if n % 2 else b"Message %d" % n, None) == 0
        assert ctypes.get_errno() == 77, n
        try:
            raise KeyError(n)
        except KeyError as error:
            sys.audit("handling", n)
            assert sys.exc_info()[1] is error

for n in range(20):
    thread = threading.Thread(target=check, args=(n * 500, n * 500 + 500))
    thread.start()
    thread.join()
print("fine")
"""
    said, complained, _ = both_ways(installed, ["-c", program])
    assert (said, complained) == ("fine\n", "")


def test_nothing_is_written_where_the_program_is(installed: Installed, tmp_path: Path) -> None:
    both_ways(installed, ["-c", "import os; print(os.listdir())"], cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_descriptors_are_not_taken(installed: Installed) -> None:
    """A program that counts on the lowest free number gets it, however the journal grows meanwhile."""
    program = """
import os, sys
for n in range(20000):
    sys.audit(f"taken.{n}", "x" * 300)
    if n % 100 == 0:
        fd = os.open("/dev/null", os.O_RDONLY)
        print(fd)
        os.close(fd)
"""
    both_ways(installed, ["-c", program], stdin=subprocess.DEVNULL)


def test_the_tests_of_cpython(installed: Installed, tmp_path: Path) -> None:
    """test_audit, of the interpreter's own test package."""
    has = installed.run("-c", "import test.test_audit", status=None)
    if has.returncode != 0:
        pytest.skip("this interpreter comes without its tests")
    recording: Recording = installed.record(["-m", "test", "test_audit"], cwd=tmp_path)
    assert "result: success" in recording.completed.stdout.lower()
    assert len({e.process.id for e in recording.events()}) > 10
    assert os.listdir(tmp_path) == []
    assert is_whole(recording)
