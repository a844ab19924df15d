"""A program that gets into trouble: bare, and recorded through each way in.

The program raises events, gets into trouble, raises more, gets out of it (or not), and raises the last ones. Then
it says what it can see of itself: descriptors, signals, limits, and how many events it has raised. So much must be

- the same as without us: everything that it wrote, and its status;
- in the journal: each event that was kept as it was raised, in order, and for each that was not, one loss told.

Only its own events are recorded (`PYTHONAUDIT_EVENTS=app`), so that the program itself knows how many there are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import Installed, Recording
from tests.fault.ways import record, run_bare, said
from tests.recorded import lost

#: What every such program begins with. 5 000 events of `raise_events` are more than a segment holds.
TOOLS = r"""
import os, resource, signal, sys, time
place = sys.argv[1]
raised = 0

def raise_events(count, audit=sys.audit):
    global raised
    for _ in range(count):
        audit("app.event", raised, "x" * 900)
        raised += 1

def wait(monotonic=time.monotonic):  # until the recorder tries again
    until = monotonic() + 0.25
    while monotonic() < until:
        pass

def fill():  # the disk, to the last byte
    fd = os.open(os.path.join(place, "filler"), os.O_CREAT | os.O_WRONLY)
    for size in 65536, 4096, 1:
        try:
            while True:
                os.write(fd, b"x" * size)
        except OSError:
            pass
    os.close(fd)

def make_room():
    os.remove(os.path.join(place, "filler"))

def journal():  # made here only where nobody records
    made = os.path.join(place, "audit", "journal")
    os.makedirs(os.path.join(made, f"u{os.geteuid()}"), 0o700, exist_ok=True)
    return made

def box():
    return os.path.join(journal(), f"u{os.geteuid()}")

def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True

def attempt(what, *arguments):
    try:
        what(*arguments)
    except Exception as error:
        print(type(error).__name__, getattr(error, "errno", ""))
    else:
        print(what.__name__, "went well")

def report():
    print("raised", raised)
    lowest = os.dup(1)
    os.close(lowest)
    print("descriptors", lowest, [fd for fd in range(256) if is_open(fd)])
    print("signals", [str(signal.getsignal(n)).split(" at ")[0] for n in sorted(signal.Signals)])
    print("held back", signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.sigpending())
    print("limits", [resource.getrlimit(n) for n in range(16)])
"""


@dataclass(frozen=True)
class Trouble:
    """One kind of trouble.

    Attributes:
        fault: the statement that causes it.
        mend: the one that ends it; None: nothing does.
        reasons: of all the losses that may come of it; none at all where it is empty; None: not checked.
        before, during, after: how many events are raised.
        disk: size of the file system that there is for the directory; None: the one that is there.
        prefix: the words of a command that starts the program, in trouble already.
        settings: further variables.
        beside: paths, from the place, that hold recordings too, such as one that was moved away.
        ending: the last statement of the program.
        status: what it ends with, recorded or not.
    """

    fault: str = ""
    mend: str | None = ""
    reasons: tuple[str, ...] | None = ("no-space",)
    before: int = 50
    during: int = 6000
    after: int = 100
    disk: str | None = None
    prefix: tuple[str, ...] = ()
    settings: Mapping[str, str | Path] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    ending: str = ""
    status: int = 0

    @property
    def program(self) -> str:
        """Its text."""
        parts = [TOOLS, f"raise_events({self.before})", self.fault, f"raise_events({self.during})"]
        if self.mend is not None:
            parts += [self.mend, "wait()", f"raise_events({self.after})"]
        return "\n".join([*parts, "report()", "sys.stdout.flush()", self.ending])


# Of each command, since all ways in are compared with the same.
_bare: dict[tuple[str, ...], subprocess.CompletedProcess[str]] = {}


def get_into(trouble: Trouble, installed: Installed, way: str, places: tuple[Path, Path]) -> Recording:
    """Runs the program bare in one place and recorded in the other, and compares.

    Returns:
        The recording, in which what it should hold has been checked.
    """
    settings: dict[str, str | Path] = {"PYTHONAUDIT_EVENTS": "app", **trouble.settings}
    bare_place, place = places
    command = [*trouble.prefix, str(installed.python), "-c", trouble.program]
    bare = _bare.get(tuple(command))
    if bare is None:
        bare = _bare[tuple(command)] = run_bare(installed, [*command, bare_place])
    recording = record(installed, way, [*command, place], settings, place / "audit")
    assert said(recording.completed) == said(bare)
    assert bare.returncode == trouble.status, said(bare)
    if trouble.beside:
        recording = put_together(recording, [place / "audit", *(place / other for other in trouble.beside)])
    (raised,) = (int(line.split()[1]) for line in bare.stdout.splitlines() if line.startswith("raised "))
    if trouble.reasons is not None:
        check_account(recording, raised, trouble.reasons)
    return recording


def check_account(recording: Recording, raised: int, reasons: tuple[str, ...]) -> None:
    """What was raised is there, whole and in order, or it is told, once each."""
    kept = [event.values for event in recording.events("app.event")]
    numbers = [number for number, _ in kept]
    assert numbers == sorted(set(numbers))
    assert all(text == "x" * 900 for _, text in kept)
    losses = lost(recording)
    assert set(losses) <= set(reasons), losses
    assert not list(recording.journal.damage())
    assert len(kept) + sum(losses.values()) == raised


def put_together(recording: Recording, places: list[Path]) -> Recording:
    """The same with what was recorded in several places, which are no directories of journals any more."""
    together = recording.directory.with_name("together")
    box = together / "journal" / f"u{os.geteuid()}"
    box.mkdir(parents=True)
    for segment in {path.resolve() for place in places for path in place.rglob("*.pyaudit")}:
        shutil.copy(segment, box)
    return Recording(together, recording.completed)


def kept_numbers(recording: Recording) -> list[int]:
    """Numbers of the events that are there."""
    return [event.values[0] for event in recording.events("app.event")]
