"""How a process ends, and what follows it in the same process or address space."""

from __future__ import annotations

import signal

import pytest

from tests.conftest import Installed
from tests.fault.ways import OLDEST_AND_NEWEST, record_beside
from tests.recorded import is_whole

ENDS = {
    "os._exit": ("os._exit(7)", 7),
    "SIGSEGV": ("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
    "a bad address": ("ctypes.string_at(8)", -signal.SIGSEGV),
    "abort": ("os.abort()", -signal.SIGABRT),
    "exec": ("os.execv('/bin/sh', ['sh', '-c', 'echo other; exit 3'])", 3),
    "exit of C": ("ctypes.CDLL(None).exit(5)", 5),
    "_exit of C, in a thread": (
        "t = threading.Thread(target=ctypes.CDLL(None)._exit, args=(6,)); t.start(); t.join()",
        6,
    ),
    "sys.exit, daemons alive": (
        "threading.Thread(target=daemon, daemon=True).start(); begun.wait(); sys.exit(4)",
        4,
    ),
    "exception in atexit": ("atexit.register(exec, '1 / 0')", 0),
    "KeyboardInterrupt": ("signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
}


@OLDEST_AND_NEWEST
@pytest.mark.parametrize("how", ENDS)
def test_ends(installed: Installed, way: str, how: str) -> None:
    """However it ends, it ends as without us; and what it raised is there."""
    ending, status = ENDS[how]
    program = f"""
import atexit, ctypes, os, resource, signal, sys, threading
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
begun = threading.Event()
def daemon():
    while True:
        sys.audit("daemon")
        begun.set()
for n in range(100):
    sys.audit("before", n)
print("printed", flush=True)
{ending}
"""
    recording = record_beside(installed, way, program, status=status)
    assert [e.values[0] for e in recording.events("before")] == list(range(100))
    assert is_whole(recording)
