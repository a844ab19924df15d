"""A disk that is full: at the start, in between, at the next segment; and space that comes back."""

from __future__ import annotations

import json
import os

import pytest

from tests.commands import run
from tests.conftest import Installed, Recording
from tests.fault.conftest import Disk
from tests.fault.troubles import TOOLS, Trouble, get_into, kept_numbers
from tests.fault.ways import OLDEST_AND_NEWEST, ROOT_ONLY, record_beside
from tests.recorded import lost

# How much of the disk is taken before the program begins; -1: all.
TROUBLES = {
    "at the start": (-1, Trouble("", "make_room()", before=0, during=200, disk="2m")),
    "in between": (0, Trouble("fill()", "make_room()", disk="3m")),
    # The first segment has its 4 MiB, the next one not even its 128 KiB.
    "at the next segment": (900 << 10, Trouble("", "make_room()", disk="5m")),
    "for good": (0, Trouble("", None, disk="3m")),
}


@ROOT_ONLY
@OLDEST_AND_NEWEST
@pytest.mark.parametrize("when", TROUBLES)
def test_disk_full(installed: Installed, way: str, disk: Disk, when: str) -> None:
    taken, trouble = TROUBLES[when]
    places = disk("bare", trouble.disk), disk("recorded", trouble.disk)
    for place in places:
        with open(place / "filler", "wb", buffering=0) as filler:
            if taken >= 0:
                os.posix_fallocate(filler.fileno(), 0, taken or 1)
            else:
                with pytest.raises(OSError):
                    while True:
                        filler.write(b"x" * 4096)
    recording = get_into(trouble, installed, way, places)
    kept = kept_numbers(recording)
    count = lost(recording)["no-space"]
    assert count > 50
    told = map(json.loads, run(recording.directory, "stats", "--format", "jsonl").stdout.splitlines())
    assert [(row["reason"], row["count"]) for row in told if "reason" in row] == [("no-space", count)]
    assert kept[: trouble.before] == list(range(trouble.before))
    if trouble.mend is not None:
        raised = trouble.before + trouble.during + trouble.after
        assert kept[-trouble.after :] == list(range(raised - trouble.after, raised))


@ROOT_ONLY
@OLDEST_AND_NEWEST
def test_disk_full_for_children(installed: Installed, way: str, disk: Disk) -> None:
    """A child that cannot have a journal is counted in its parent's."""
    program = f"""
{TOOLS}
sys.audit("before")
fill()
for n in range(3):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if n else raise_events(10) or 0)
    assert os.waitpid(pid, 0)[1] == 0
make_room()
"""
    place = disk("place", "1m")
    command = [installed.python, "-c", program, place]
    recording: Recording = record_beside(installed, way, command, directory=place / "audit")
    # Two of them raised nothing but the end of their interpreter, which os._exit left out.
    assert lost(recording)["unrecorded-child"] == 1
    assert len(recording.journal.processes()) == 1
