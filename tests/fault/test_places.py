"""The directory goes: removed, replaced, unmounted, made read-only; as the segment grows and before the next one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pythonaudit.journal.reader import Journal
from tests.conftest import Installed, Recording
from tests.fault.conftest import SOMEBODY, Disk
from tests.fault.troubles import Trouble, get_into, kept_numbers
from tests.fault.ways import OLDEST_AND_NEWEST, ROOT_ONLY
from tests.recorded import lost

# What is done to it; what had been recorded is in `moved` then.
ELSEWHERE = {
    "moved": "journal(); os.rename(place + '/audit', place + '/moved')",
    "journal moved": "os.rename(journal(), place + '/moved')",
    "box moved": "os.rename(box(), place + '/moved')",
    "replaced by another": "mine = box(); os.rename(mine, place + '/moved'); os.mkdir(mine, 0o700)",
    "replaced by one for all": (
        "mine = box(); os.rename(mine, place + '/moved'); os.mkdir(mine); os.chmod(mine, 0o777)"
    ),
    "replaced by a link": (
        "mine = box(); os.rename(mine, place + '/moved'); os.mkdir(place + '/trap'); os.symlink(place + '/trap', mine)"
    ),
    "journal replaced by a link": (
        "mine = journal(); os.rename(mine, place + '/moved'); "
        "os.makedirs(place + '/trap/u0'); os.symlink(place + '/trap', mine)"
    ),
    "replaced by a file": "mine = box(); os.rename(mine, place + '/moved'); open(mine, 'w').close()",
}
WHEN = {"growing": 50, "at the next segment": 4000}


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("how", ELSEWHERE)
def test_moved_and_replaced(installed_here: Installed, way: str, disk: Disk, how: str, when: str) -> None:
    reasons = ("no-journal",) if how == "journal replaced by a link" else ()
    trouble = Trouble(ELSEWHERE[how], reasons=reasons, before=WHEN[when], beside=("moved",))
    places = disk("bare", None), disk("recorded", None)
    recording = get_into(trouble, installed_here, way, places)
    assert not list(places[1].rglob("trap/**/*.pyaudit"))
    (trail,) = recording.journal.processes()
    assert trail.ended


@OLDEST_AND_NEWEST
@pytest.mark.parametrize("when", WHEN)
def test_removed(installed: Installed, way: str, disk: Disk, when: str) -> None:
    """Recording goes on in a directory of its own; what had been recorded is gone, and that is told."""
    trouble = Trouble("import shutil; journal(); shutil.rmtree(place + '/audit')", reasons=None, before=WHEN[when])
    recording = get_into(trouble, installed, way, (disk("bare", None), disk("recorded", None)))
    kept = kept_numbers(recording)
    # The segment that was open is as good as any until it has to grow.
    assert kept == list(range(kept[0], 6100 + WHEN[when]))
    assert WHEN[when] < kept[0] < 5000
    assert lost(recording) == {"missing-segments": 1}
    (trail,) = recording.journal.processes()
    assert trail.ended


# Seen by this process alone: `place` is another directory than elsewhere, and can go.
APART = (
    "unshare",
    "-m",
    "sh",
    "-c",
    'for place in "$@"; do :; done; mount --bind "$place.mounted" "$place"; exec "$0" "$@"',
)
SYSTEM = """
import ctypes
def system(call, *arguments):
    if getattr(ctypes.CDLL(None, use_errno=True), call)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), call)
def cover():  # by the same directory, read-only (a mount that somebody writes through cannot be made so)
    system("mount", place.encode(), place.encode(), None, 4096, None)  # MS_BIND
    system("mount", None, place.encode(), None, 32 | 4096 | 1, None)  # MS_REMOUNT | MS_BIND | MS_RDONLY
def uncover():
    system("umount2", place.encode(), 2)  # MNT_DETACH
"""
MOUNTS = {
    # Below it lies the directory that was there before.
    "unmounted": ("uncover()", "", ()),
    "read-only": ("cover()", "uncover()", ("no-journal",)),
    "read-only for good": ("cover()", None, ("no-journal",)),
}


@ROOT_ONLY
@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("how", MOUNTS)
def test_mounts(installed_here: Installed, way: str, disk: Disk, how: str, when: str) -> None:
    disk("bare.mounted", "32m")
    mounted = disk("recorded.mounted", "32m")
    fault, mend, reasons = MOUNTS[how]
    trouble = Trouble(
        SYSTEM + fault, mend, reasons, before=WHEN[when], prefix=APART, beside=("../recorded.mounted",)
    )
    recording = get_into(trouble, installed_here, way, (disk("bare", None), disk("recorded", None)))
    kept = kept_numbers(recording)
    assert kept[: trouble.before] == list(range(trouble.before))
    assert bool(lost(recording)) == bool(trouble.reasons)
    assert list(mounted.rglob("*.pyaudit"))


@ROOT_ONLY
@OLDEST_AND_NEWEST
@pytest.mark.parametrize("when", WHEN)
def test_not_writable(installed: Installed, way: str, shared: tuple[Path, Path], when: str) -> None:
    """For a user whom modes hold. What is there is no more to be opened; what would have followed is counted."""
    trouble = Trouble(
        f"os.setgid({SOMEBODY}); os.setuid({SOMEBODY}); raise_events({WHEN[when]}); os.chmod(box(), 0o500)",
        "os.chmod(box(), 0o700)",
        ("no-journal",),
    )
    recording = get_into(trouble, installed, way, shared)
    kept = kept_numbers(recording)
    raised = 50 + WHEN[when] + 6100
    assert kept[: 50 + WHEN[when]] == list(range(50 + WHEN[when]))
    assert kept[-100:] == list(range(raised - 100, raised))
    assert lost(recording)


@ROOT_ONLY
@OLDEST_AND_NEWEST
def test_user_changed_where_he_may_not_write(installed: Installed, way: str, shared: tuple[Path, Path]) -> None:
    """A private directory of root's is closed to whom root becomes: the segment in hand is all there is."""
    for place in shared:
        (place / "audit").chmod(0o700)
    trouble = Trouble(f"os.setgid({SOMEBODY}); os.setuid({SOMEBODY})", None, ("no-journal",), during=3000)
    recording = get_into(trouble, installed, way, shared)
    assert lost(recording)["no-journal"] > 2000


@ROOT_ONLY
@OLDEST_AND_NEWEST
def test_runtime_directory_instead(installed: Installed, way: str, shared: tuple[Path, Path]) -> None:
    """Where nothing can be written, the user's runtime directory is next."""
    for place in shared:
        (place / "audit").chmod(0o700)
    runtime = shared[1] / "runtime"
    runtime.mkdir(mode=0o700)
    os.chown(runtime, SOMEBODY, SOMEBODY)
    trouble = Trouble(
        f"os.setgid({SOMEBODY}); os.setuid({SOMEBODY})",
        reasons=(),
        settings={"XDG_RUNTIME_DIR": runtime},
        beside=("runtime",),
    )
    recording = get_into(trouble, installed, way, shared)
    assert kept_numbers(recording) == list(range(6150))
    audit = shared[1] / "audit"
    assert Journal(audit, [runtime / "pythonaudit"]).losses() == []
    # The first is where it could still write.
    assert set(lost(Recording(runtime / "pythonaudit", recording.completed))) == {"missing-segments"}


# An empty directory that the process can see nothing outside of: no /proc, no interpreter, and no journal but what
# it makes there. What is in sight of it is in `jail`.
CHROOT = """
jail = os.path.join(place, "jail")
os.mkdir(jail, 0o755)
os.chroot(jail)
os.chdir("/")
"""
FORK = """
if not os.fork():
    raise_events(5000)
    os._exit(0)
raised += 5000
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@ROOT_ONLY
@OLDEST_AND_NEWEST
@pytest.mark.parametrize("when", WHEN)
def test_chroot(installed: Installed, way: str, disk: Disk, when: str) -> None:
    """The next segment, and a child's first, lie below the new root, where the directory's name leads there."""
    place = disk("recorded", None)
    trouble = Trouble(CHROOT, FORK, (), before=WHEN[when], beside=("jail",))
    recording = get_into(trouble, installed, way, (disk("bare", None), place))
    mine, child = recording.journal.processes()
    assert (mine.ended, child.process.way, child.process.parent) == (True, "fork", mine.process.id)
    kept = [e.values[0] for e in recording.events("app.event") if e.process.id == mine.process.id]
    before = WHEN[when] + 6000
    assert kept == [*range(before), *range(before + 5000, before + 5100)]
    outside = Recording(place / "audit", recording.completed)
    assert WHEN[when] <= len(kept_numbers(outside)) < before
    (trail,) = outside.journal.processes()
    assert not trail.ended


@ROOT_ONLY
@OLDEST_AND_NEWEST
@pytest.mark.parametrize("when", WHEN)
def test_chroot_and_another_user(installed: Installed, way: str, shared: tuple[Path, Path], when: str) -> None:
    """As daemons do: into a directory of root's, and then somebody else. The segment in hand counts what follows."""
    trouble = Trouble(
        CHROOT + f"os.setgid({SOMEBODY}); os.setuid({SOMEBODY})", None, ("no-journal",), before=WHEN[when]
    )
    recording = get_into(trouble, installed, way, shared)
    kept = kept_numbers(recording)
    assert kept == list(range(len(kept)))
    assert len(kept) >= WHEN[when]
    assert lost(recording)["no-journal"] == WHEN[when] + 6000 - len(kept)
    assert not list((shared[1] / "jail").iterdir())
