"""The file under a segment is cut off, or its disk fails: the program goes on, and what is gone is told.

Every other SIGBUS is as deadly as without us.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Installed, Recording
from tests.fault.conftest import Disk
from tests.fault.troubles import Trouble, get_into, kept_numbers
from tests.fault.ways import OLDEST_AND_NEWEST, ROOT_ONLY, record, record_beside
from tests.recorded import lost

SEGMENTS = """
import glob
def segments():
    return sorted(glob.glob(place + "/audit/journal/*/*.pyaudit"))
"""
CUTS = {
    "to nothing": "for path in segments(): os.truncate(path, 0)",
    "to half": "for path in segments(): os.truncate(path, os.path.getsize(path) // 2)",
    "to its header": "for path in segments(): os.truncate(path, 4096)",
    "by a page": "for path in segments(): os.truncate(path, os.path.getsize(path) - 4096)",
    "and made longer": "for path in segments(): os.truncate(path, 0); os.truncate(path, 1 << 24)",
}


def check_rest(recording: Recording, first: int, raised: int) -> None:
    """All that was raised from some time after the cut on is there, and what is not shows in the ids."""
    events = recording.events("app.event")
    kept = kept_numbers(recording)
    assert kept == sorted(set(kept))
    assert kept[kept.index(first) :] == list(range(first, raised))
    assert len({event.number - event.values[0] for event in events}) == 1  # of one thread, and nothing in between
    assert lost(recording) or kept == list(range(raised))


@pytest.mark.parametrize("before", [50, 2000])
@pytest.mark.parametrize("how", CUTS)
def test_cut_off(installed_here: Installed, way: str, disk: Disk, how: str, before: int) -> None:
    trouble = Trouble(SEGMENTS + CUTS[how], reasons=None, before=before)
    recording = get_into(trouble, installed_here, way, (disk("bare", None), disk("recorded", None)))
    # At the latest when it has to grow: 2 MiB here.
    check_rest(recording, before + 2500, before + 6100)


@OLDEST_AND_NEWEST
def test_cut_off_where_nothing_is_recorded(installed: Installed, way: str, disk: Disk) -> None:
    """The end of the interpreter closes the segment all the same."""
    trouble = Trouble(
        SEGMENTS + CUTS["to nothing"], None, reasons=None, during=0, settings={"PYTHONAUDIT_EVENTS": "-*"}
    )
    get_into(trouble, installed, way, (disk("bare", None), disk("recorded", None)))


@OLDEST_AND_NEWEST
def test_cut_off_again_and_again(installed: Installed, way: str, disk: Disk) -> None:
    """While threads write."""
    fault = (
        SEGMENTS
        + """
import threading
def cut():
    for n in range(30):
        for path in segments()[-1:]:
            os.truncate(path, n % 3 * 4096)
        time.sleep(0)
def write(audit=sys.audit):
    while cutter.is_alive():
        for n in range(100):
            audit("app.thread", n, "x" * 900)
sys.setswitchinterval(1e-5)
cutter = threading.Thread(target=cut)
writers = [threading.Thread(target=write) for _ in range(3)]
cutter.start()
for thread in writers: thread.start()
for thread in [cutter, *writers]: thread.join()
"""
    )
    trouble = Trouble(fault, reasons=None)
    recording = get_into(trouble, installed, way, (disk("bare", None), disk("recorded", None)))
    check_rest(recording, 2000, 6150)


@pytest.fixture
def failing_disk(tmp_path: Path) -> Iterator[Path]:
    """A place on a file system that can be made to fail: ext4 in a file."""
    place = tmp_path / "recorded"
    place.mkdir()
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    made = subprocess.run(["mkfs.ext4", "-q", image], capture_output=True)
    if made.returncode or subprocess.run(["mount", "-o", "loop", image, place], capture_output=True).returncode:
        pytest.skip("no ext4 in a file to be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@ROOT_ONLY
def test_disk_that_fails(installed_here: Installed, way: str, disk: Disk, failing_disk: Path) -> None:
    """As after an error of the device: ext4 takes nothing any more. What was there is what there will be."""
    fail = "import subprocess; subprocess.run(['mount', '-o', 'remount,abort', place], capture_output=True)"
    trouble = Trouble(fail, None, reasons=None)
    recording = get_into(trouble, installed_here, way, (disk("bare", None), failing_disk))
    assert kept_numbers(recording)[:50] == list(range(50))


MAPPED = """
import mmap, os, sys, tempfile
with tempfile.TemporaryFile() as file:
    file.truncate(8192)
    mapped = mmap.mmap(file.fileno(), 8192)
    file.truncate(0)
"""
OTHERS = {
    "sent": "os.kill(os.getpid(), signal.SIGBUS)",
    "sent to a thread": "signal.pthread_kill(threading.main_thread().ident, signal.SIGBUS)",
    "raised": "signal.raise_signal(signal.SIGBUS)",
    "own": MAPPED + "mapped[5000]",
    "own, in a thread": MAPPED + "t = threading.Thread(target=lambda: mapped[5000]); t.start(); t.join()",
    "own, with faulthandler": "import faulthandler; faulthandler.enable(open(os.devnull, 'w'))"
    + MAPPED
    + "mapped[5000]",
    "own, with faulthandler switched off": (
        "import faulthandler; faulthandler.enable(); faulthandler.disable()" + MAPPED + "mapped[5000]"
    ),
    "set back": "signal.signal(signal.SIGBUS, print); signal.signal(signal.SIGBUS, signal.SIG_DFL)"
    + MAPPED
    + "mapped[5000]",
    "of a child": "os.fork() or os.kill(os.getpid(), signal.SIGBUS); print(os.wait()[1]); signal.raise_signal(signal.SIGBUS)",
    "of another program": "print(subprocess.run(['sh', '-c', 'kill -BUS $$']).returncode); signal.raise_signal(signal.SIGBUS)",
}


@pytest.mark.parametrize("whose", OTHERS)
def test_other_bus_errors(installed_here: Installed, way: str, whose: str) -> None:
    """The signal is the program's."""
    program = """
import os, resource, signal, subprocess, sys, threading
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
sys.audit("app.event", 0)
print(signal.getsignal(signal.SIGBUS), flush=True)
"""
    program += OTHERS[whose]
    recording = record_beside(installed_here, way, program, status=-signal.SIGBUS)
    assert recording.events("app.event")


@OLDEST_AND_NEWEST
@pytest.mark.parametrize(
    "how",
    ["faulthandler.enable(open(os.devnull, 'w'))", "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGBUS])"],
)
def test_who_handles_or_blocks_it_gets_it(installed: Installed, way: str, tmp_path: Path, how: str) -> None:
    """As docs/threat-model.md discloses."""
    program = f"""
import faulthandler, glob, os, resource, signal, sys
place = {str(tmp_path)!r}
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
{how}
{SEGMENTS}
{CUTS["to nothing"]}
print("cut", flush=True)
sys.audit("app.event", 0)
"""
    done = record(installed, way, program, directory=tmp_path / "audit").completed
    assert (done.returncode, done.stdout) == (-signal.SIGBUS, "cut\n")


@OLDEST_AND_NEWEST
@pytest.mark.parametrize("how", ["to nothing", "to half"])
def test_cut_off_and_used_again(installed: Installed, way: str, disk: Disk, how: str) -> None:
    """A segment that was cut off is none that another could be made of, where the limit asks for it."""
    trouble = Trouble(
        SEGMENTS + "raise_events(6000)\n" + CUTS[how],
        reasons=None,
        during=20000,
        settings={"PYTHONAUDIT_MAX_BYTES": "8M"},
    )
    recording = get_into(trouble, installed, way, (disk("bare", None), disk("recorded", None)))
    check_rest(recording, 22000, 26150)
