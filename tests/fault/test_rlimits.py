"""Limits of the process (setrlimit): ours are spent before its own, and it never notices."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Installed
from tests.fault.conftest import SOMEBODY, Disk
from tests.fault.troubles import TOOLS, Trouble, get_into, kept_numbers
from tests.fault.ways import OLDEST_AND_NEWEST, ROOT_ONLY, record_beside, run_bare
from tests.recorded import lost

LOWER = """
limits = resource.getrlimit(resource.RLIMIT_{0})
resource.setrlimit(resource.RLIMIT_{0}, ({1}, limits[1]))
"""
RESTORE = "resource.setrlimit(resource.RLIMIT_{0}, limits)"
BEYOND = """
def write_beyond():
    with open(os.path.join(place, "own"), "wb", buffering=0) as own:
        own.seek(300_000)
        own.write(b"x")
"""
HANDLE = """
handled = []
signal.signal(signal.SIGXFSZ, lambda number, frame: handled.append(number))
"""
SIZE = LOWER.format("FSIZE", 200_000) + BEYOND
HOLD_ALL = """
held = []
try:
    while True:
        held.append(os.dup(2))
except OSError as error:
    print(error.errno, held)
"""
LET_GO = "for fd in held: os.close(fd)"
USED = """
import re
with open("/proc/self/status") as status:
    used = int(re.search(r"VmSize:\\s+(\\d+)", status.read())[1]) * 1024
"""
HOLDING = 'ulimit -Sn {}; for fd in 3 4 5 6 7 8 9; do eval "exec $fd</dev/null"; done; exec "$0" "$@"'
RAISE_SOFT = "limits = resource.getrlimit(resource.RLIMIT_{0}); resource.setrlimit(resource.RLIMIT_{0}, (limits[1], limits[1]))"

TROUBLES = {
    # Smaller segments are made. Python ignores SIGXFSZ, but a program may have set it back.
    "file size, ignored": Trouble(SIZE + "attempt(write_beyond)", RESTORE.format("FSIZE"), ()),
    "file size, by default": Trouble(
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)" + SIZE, RESTORE.format("FSIZE"), ()
    ),
    "file size, handled": Trouble(
        HANDLE + SIZE + "attempt(write_beyond); print(handled)", RESTORE.format("FSIZE") + "; print(handled)", ()
    ),
    "file size, held back": Trouble(
        HANDLE + SIZE + "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGXFSZ]); attempt(write_beyond)",
        RESTORE.format("FSIZE") + "; print(handled)",
        (),
    ),
    "file size, deadly": Trouble(
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)"
        + SIZE
        + "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
        None,
        (),
        ending="write_beyond()",
        status=-signal.SIGXFSZ,
    ),
    "file size 0 at the start": Trouble(
        "",
        RAISE_SOFT.format("FSIZE"),
        ("file-limit",),
        before=0,
        during=200,
        prefix=("prlimit", "--fsize=0:unlimited", "--"),
    ),
    "descriptors 0": Trouble(LOWER.format("NOFILE", 0), RESTORE.format("NOFILE"), ("no-journal",)),
    "descriptors 3": Trouble(LOWER.format("NOFILE", 3), RESTORE.format("NOFILE"), ("no-journal",)),
    "descriptors all taken": Trouble(LOWER.format("NOFILE", 64) + HOLD_ALL, LET_GO, ("no-journal",)),
    "descriptors all taken at the next segment": Trouble(
        LOWER.format("NOFILE", 64) + HOLD_ALL, LET_GO, ("no-journal",), before=4000
    ),
    "memory as it is": Trouble(
        USED + LOWER.format("AS", "used") + "attempt(bytearray, 1 << 30)", RESTORE.format("AS"), ("no-memory",)
    ),
    "memory for no other segment": Trouble(
        USED + LOWER.format("AS", "used + (3 << 20)") + "attempt(bytearray, 1 << 30)",
        RESTORE.format("AS"),
        ("no-memory",),
    ),
    "memory as it is at the next segment": Trouble(
        USED + LOWER.format("AS", "used") + "attempt(bytearray, 1 << 30)",
        RESTORE.format("AS"),
        ("no-memory",),
        before=4000,
    ),
}


@OLDEST_AND_NEWEST
@pytest.mark.parametrize("what", TROUBLES)
def test_limits(installed: Installed, way: str, disk: Disk, what: str) -> None:
    trouble = TROUBLES[what]
    recording = get_into(trouble, installed, way, (disk("bare", None), disk("recorded", None)))
    kept = kept_numbers(recording)
    assert kept[: trouble.before] == list(range(trouble.before))
    assert bool(lost(recording)) == bool(trouble.reasons)
    if trouble.mend is not None:
        raised = trouble.before + trouble.during + trouble.after
        assert kept[-trouble.after :] == list(range(raised - trouble.after, raised))


@OLDEST_AND_NEWEST
@pytest.mark.parametrize("free", [1, 2, 3])
def test_few_descriptors_at_the_start(installed: Installed, way: str, disk: Disk, free: int) -> None:
    """We need two at a time. With one, 3.10 cannot even import us from a .pth file, which it holds open."""
    trouble = Trouble(
        "", "os.closerange(3, 10)", ("no-journal",), 0, 200, prefix=("sh", "-c", HOLDING.format(10 + free))
    )
    places = disk("bare", None), disk("recorded", None)
    if free == 1 and way == "site" and installed.interpreter.version < (3, 11):
        get_into(replace(trouble, reasons=None), installed, way, places)
        assert not list(places[1].rglob("*.pyaudit"))
    else:
        kept = kept_numbers(get_into(trouble, installed, way, places))
        assert kept[-100:] == list(range(200, 300))


@ROOT_ONLY  # whom no such limit holds, so it becomes somebody else
@OLDEST_AND_NEWEST
def test_limit_of_processes(installed: Installed, way: str, shared: tuple[Path, Path]) -> None:
    """We start no process and no thread."""
    fault = f"""
import threading
os.setgid({SOMEBODY}); os.setuid({SOMEBODY})
{LOWER.format("NPROC", 0)}
attempt(os.fork)
attempt(threading.Thread(target=print).start)
"""
    recording = get_into(Trouble(fault, RESTORE.format("NPROC"), ()), installed, way, shared)
    assert len(list(recording.directory.glob(f"journal/u{SOMEBODY}/*.pyaudit"))) == 2


def memory_needed(installed: Installed, place: Path) -> int:
    """Bytes of addresses that the program needs when nobody records it."""
    program = [installed.python, "-c", TOOLS + "raise_events(1)", place]

    def fits(kib: int) -> bool:
        limited = ["prlimit", f"--as={kib << 10}:unlimited", "--", *program]
        return run_bare(installed, limited).returncode == 0

    low, high = 4 << 10, 512 << 10
    assert fits(high)
    while high - low > 64:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high << 10


@OLDEST_AND_NEWEST
def test_limit_of_memory_at_the_start(installed: Installed, way: str, disk: Disk) -> None:
    """Where the program fits, and a segment (4 MiB of addresses) does not."""
    places = disk("bare", None), disk("recorded", None)
    limit = memory_needed(installed, places[0]) + (3 << 20)
    trouble = Trouble(
        "attempt(bytearray, 1 << 40)",
        RAISE_SOFT.format("AS"),
        ("no-memory",),
        before=0,
        during=200,
        prefix=("prlimit", f"--as={limit}:unlimited", "--"),
    )
    recording = get_into(trouble, installed, way, places)
    assert kept_numbers(recording) == list(range(200, 300))


def test_limit_of_time(installed_here: Installed, way: str) -> None:
    """RLIMIT_CPU, as any signal, loses nothing."""
    program = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
n = 0
while True:
    sys.audit("app.event", n)
    for _ in range(2000): pass
    n += 1
"""
    recording = record_beside(installed_here, way, program, status=-signal.SIGXCPU)
    kept = kept_numbers(recording)
    assert kept == list(range(len(kept)))
    assert lost(recording) == {}
