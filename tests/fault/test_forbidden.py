"""System calls that a filter (seccomp) forbids once recording has begun.

With an error: what cannot be done is a loss, and counted. With death: docs/guide/services.md lists what a filter
has to leave to us.
"""

from __future__ import annotations

import errno
import platform
import re
import signal

import pytest

from tests.conftest import ROOT, Installed
from tests.fault.conftest import Disk
from tests.fault.troubles import Trouble, get_into, kept_numbers
from tests.fault.ways import OLDEST_AND_NEWEST, record, said
from tests.recorded import lost

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the numbers of system calls are those of x86-64"
)
NUMBERS = {
    "read": 0, "write": 1, "close": 3, "fstat": 5, "mmap": 9, "munmap": 11, "brk": 12, "rt_sigprocmask": 14,
    "pread64": 17, "pwrite64": 18, "madvise": 28, "getpid": 39, "kill": 62, "uname": 63, "ftruncate": 77,
    "readlink": 89, "geteuid": 107, "getegid": 108, "rt_sigpending": 127, "rt_sigtimedwait": 128,
    "fstatfs": 138, "gettid": 186, "futex": 202, "getdents64": 217, "clock_gettime": 228, "exit_group": 231,
    "openat": 257, "mkdirat": 258, "newfstatat": 262, "unlinkat": 263, "renameat": 264, "fallocate": 285,
    "pwritev": 296, "prlimit64": 302,
}  # fmt: skip
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
# BPF: the number of the system call; if it is one of these, one answer; else the other.
FILTER = """
import ctypes, struct
def install(numbers, answer, otherwise):
    steps = [struct.pack("HBBI", 0x20, 0, 0, 0)]
    for number in numbers:
        steps += [struct.pack("HBBI", 0x15, 0, 1, number), struct.pack("HBBI", 0x06, 0, 0, answer)]
    steps += [struct.pack("HBBI", 0x06, 0, 0, otherwise)]
    code = ctypes.create_string_buffer(b"".join(steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code)))
    system = ctypes.CDLL(None, use_errno=True)
    system.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    if system.prctl(22, 2, program, 0, 0) != 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "prctl")
"""
FORBIDDEN = {
    "openat": ("no-journal",),
    "mmap": ("no-journal",),
    "fallocate": (),  # zeros are written instead
    "fallocate pwritev": ("no-journal",),
    "newfstatat fstat": ("no-journal",),
    "unlinkat mkdirat ftruncate madvise": (),
    "openat mmap fallocate ftruncate unlinkat madvise": ("no-journal",),
}


def install(names: str, answer: int, otherwise: int = ALLOW) -> str:
    """A statement that installs the filter."""
    return f"{FILTER}\ninstall({[NUMBERS[name] for name in names.split()]}, {answer}, {otherwise})\n"


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS], ids=["EPERM", "ENOSYS"])
@pytest.mark.parametrize("names", FORBIDDEN)
def test_error(installed_here: Installed, way: str, disk: Disk, names: str, error: int) -> None:
    """Neither the program nor its descriptors know of it."""
    trouble = Trouble(install(names, ERRNO | error), None, FORBIDDEN[names])
    recording = get_into(trouble, installed_here, way, (disk("bare", None), disk("recorded", None)))
    kept = kept_numbers(recording)
    assert kept[:50] == list(range(50))
    assert bool(lost(recording)) == bool(FORBIDDEN[names])


def needed() -> str:
    """The system calls that the guide says we make in a running process."""
    guide = (ROOT / "docs" / "guide" / "services.md").read_text()
    found = re.search(r"```seccomp\n(.*?)```", guide, re.DOTALL)
    assert found
    return found[1]


@OLDEST_AND_NEWEST
def test_those_that_are_needed(installed: Installed, way: str) -> None:
    """With no other than these, a process records on: through segments, and through what goes to make room."""
    program = f"""
import os, sys
{install(needed() + " write exit_group", ALLOW, KILL)}
for n in range(12000):
    sys.audit("app.event", n, "x" * 900)
os.write(1, b"fine")
os._exit(0)
"""
    recording = record(installed, way, program, {"PYTHONAUDIT_EVENTS": "app", "PYTHONAUDIT_MAX_BYTES": "6M"})
    assert said(recording.completed) == (0, "fine", "")
    assert kept_numbers(recording)[-1] == 11999
    assert lost(recording)["evicted"]


@OLDEST_AND_NEWEST
def test_death(installed: Installed, way: str) -> None:
    """As the guide says: without them, growing the segment is the end. What was committed is there."""
    program = f"""
import os, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
{install("fallocate", KILL)}
for n in range(12000):
    sys.audit("app.event", n, "x" * 900)
"""
    recording = record(installed, way, program, {"PYTHONAUDIT_EVENTS": "app"})
    assert recording.completed.returncode == -signal.SIGSYS
    kept = kept_numbers(recording)
    assert kept == list(range(len(kept)))
    assert len(kept) > 50
    assert lost(recording) == {}
