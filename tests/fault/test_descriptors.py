"""Numbers of descriptors are the program's: we keep none, and what it opens is never written to or closed by us."""

from __future__ import annotations

import pytest

from tests.conftest import FREE_THREADED, Installed
from tests.fault.conftest import Disk
from tests.fault.troubles import Trouble, check_account, get_into, kept_numbers
from tests.fault.ways import OLDEST_AND_NEWEST, record_beside
from tests.recorded import is_whole, threads

OWN = """
with open(place + "/own", "w") as own:
    own.write("mine")
own = os.open(place + "/own", os.O_RDWR)
"""
LOOK = """
print("mine", open(place + "/own").read(), [os.lseek(fd, 0, os.SEEK_CUR) for fd in range(3, 64) if is_open(fd)])
"""
TROUBLES = {
    "closed": Trouble("os.closerange(3, 65536)", "os.closerange(3, 65536)", ()),
    "closed by the system call": Trouble(
        "import ctypes; ctypes.CDLL(None).syscall(436, 3, 0xffffffff, 0)",  # close_range(3, ~0, 0)
        reasons=(),
        before=1,
    ),
    "all taken over": Trouble(
        OWN + "for fd in range(3, 64): fd == own or os.dup2(own, fd)", LOOK + "os.closerange(3, 64)", ()
    ),
    "all taken over before the next segment": Trouble(
        OWN + "for fd in range(3, 64): fd == own or os.dup2(own, fd)", LOOK, (), before=4000
    ),
    "the standard ones closed": Trouble(
        "kept = os.dup(0); os.close(0)", "print(os.dup(kept)); os.close(kept)", reasons=()
    ),
    "the next to be had": Trouble(
        "print(os.dup(1)); os.closerange(3, 64)", "print([os.dup(1) for _ in range(3)])", reasons=()
    ),
}


@OLDEST_AND_NEWEST
@pytest.mark.parametrize("what", TROUBLES)
def test_numbers(installed: Installed, way: str, disk: Disk, what: str) -> None:
    trouble = TROUBLES[what]
    recording = get_into(trouble, installed, way, (disk("bare", None), disk("recorded", None)))
    assert is_whole(recording)
    assert len(kept_numbers(recording)) == trouble.before + 6100


# What another thread does, all the while.
OTHERS = {
    "closes every number": "os.closerange(3, 256)",
    "opens, uses and closes": """
r, w = os.pipe()
os.write(w, b"mine")
if os.read(r, 100) != b"mine":
    problems.append("read something else")
os.close(r)
os.close(w)
""",
}


@OLDEST_AND_NEWEST
@pytest.mark.parametrize("what", OTHERS)
def test_while_others_are_at_it(installed: Installed, way: str, what: str) -> None:
    program = f"""
import os, sys, threading
problems, done = [], False
act = compile({OTHERS[what]!r}, "other", "exec")
def other():
    while not done:
        exec(act)
sys.setswitchinterval(1e-5)
others = [threading.Thread(target=other) for _ in range(2 if "pipe" in {OTHERS[what]!r} else 1)]
for t in others: t.start()
for n in range(20000):
    sys.audit("app.event", n, "x" * 900)
done = True
for t in others: t.join()
print(problems)
"""
    recording = record_beside(installed, way, program, {"PYTHONAUDIT_EVENTS": "app"})
    # Without the GIL, all of ours may be closed all the time: what cannot be kept then is told.
    check_account(recording, 20000, ("no-journal",) if FREE_THREADED and what == "closes every number" else ())
    threads(recording.journal.events())
