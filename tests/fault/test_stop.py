"""Where a process cannot be recorded: PYTHONAUDIT_ON_FAILURE=stop ends it with status 78 and one line; else nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Installed
from tests.fault.conftest import Disk
from tests.fault.test_rlimits import HOLDING, LOWER, RAISE_SOFT, memory_needed
from tests.fault.troubles import Trouble, get_into
from tests.fault.ways import OLDEST_AND_NEWEST, ROOT_ONLY, record
from tests.recorded import lost

# A command that does something to its last argument, the place, and then goes on.
DO = 'for place in "$@"; do :; done; {}; exec "$0" "$@"'
AT_THE_START = {
    "a file in place of the directory": ("sh", "-c", DO.format('rm -rf "$place/audit"; : >"$place/audit"')),
    "no room": ("sh", "-c", DO.format('head -c 3M /dev/zero >"$place/filler" 2>/dev/null')),
    "a read-only directory": (
        "unshare",
        "-m",
        "sh",
        "-c",
        DO.format('mount --bind "$place" "$place"; mount -o remount,bind,ro "$place"'),
    ),
    "no file size": ("prlimit", "--fsize=0:unlimited", "--"),
    "no descriptors": ("sh", "-c", HOLDING.format(11)),
    "no memory": ("prlimit", "--as={}:unlimited", "--"),
}


@ROOT_ONLY
@OLDEST_AND_NEWEST
@pytest.mark.parametrize("why", AT_THE_START)
def test_at_the_start(installed: Installed, way: str, disk: Disk, why: str) -> None:
    prefix = list(AT_THE_START[why])
    places = disk("bare", "2m"), disk("recorded", "2m")
    if why == "no memory":
        prefix[1] = prefix[1].format(memory_needed(installed, places[0]) + (3 << 20))
    trouble = Trouble(mend=None, reasons=None, before=0, during=1, prefix=tuple(prefix))
    get_into(trouble, installed, way, places)
    place = disk("stopped", "2m")
    command = [*prefix, installed.python, "-c", "print('ran')", place]
    settings: dict[str, str | Path] = {"PYTHONAUDIT_ON_FAILURE": "stop"}
    done = record(installed, way, command, settings, place / "audit").completed
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (78, "")
    assert line.startswith("pythonaudit: ")
    assert "PYTHONAUDIT_ON_FAILURE=stop" in line


@OLDEST_AND_NEWEST
def test_in_between(installed: Installed, way: str, tmp_path: Path) -> None:
    program = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
print("ran", flush=True)
while True:
    sys.audit("app.event", "x" * 900)
"""
    done = record(installed, way, program, {"PYTHONAUDIT_ON_FAILURE": "stop"}, tmp_path / "audit").completed
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (78, "ran\n")
    assert line.startswith(f"pythonaudit: cannot record in {tmp_path / 'audit'}: ")


# Events that nobody wants, some of names that are new, among those that there is no room for.
UNWANTED = """
import glob
glob.glob("/x*")
os.listdir("/")
attempt(compile, "1", "", "eval")
sys.audit("cpython.run_file")
"""
UNWANTED_TROUBLES = {
    "at the start": Trouble(
        UNWANTED,
        RAISE_SOFT.format("FSIZE"),
        ("file-limit",),
        before=0,
        prefix=("prlimit", "--fsize=0:unlimited", "--"),
    ),
    "in between": Trouble(LOWER.format("FSIZE", 60_000) + "raise_events(200)\n" + UNWANTED, None, ("file-limit",)),
}


@OLDEST_AND_NEWEST
@pytest.mark.parametrize("when", UNWANTED_TROUBLES)
def test_what_is_off_is_not_lost(installed: Installed, way: str, disk: Disk, when: str) -> None:
    """Nor counted, whether there is a segment or not."""
    trouble = replace(UNWANTED_TROUBLES[when], settings={"PYTHONAUDIT_EVENTS": "app,-cpython.*"})
    assert lost(get_into(trouble, installed, way, (disk("bare", None), disk("recorded", None))))
