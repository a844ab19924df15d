"""What `doctor` looks at: each check is a function that yields findings.

A finding is one line: how it stands, what is so, and what to do about it. Nothing is printed here
and nothing is mended. Standard library only.
"""

import os
import signal
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pythonaudit
from pythonaudit.cli.interpreters import FREE_THREADED, SUPPORTED, Interpreter
from pythonaudit.cli.room import bytes_taken, find_obstacle, limit_in
from pythonaudit.cli.trial import Trial
from pythonaudit.errors import FormatError, StoreError
from pythonaudit.journal import layout
from pythonaudit.journal.chunks import is_unbegun, parse_header, walk_chunks
from pythonaudit.journal.files import (
    RefusedError,
    find_boxes,
    list_segments,
    open_segment,
    read_segment,
    runtime_directories,
)
from pythonaudit.journal.summary import named_losses

OK, NOTE, WARNING, BROKEN = "ok", "note", "warning", "broken"

#: With less free on the disk than two segments take, the next process may find no room.
_LEAST_FREE = 2 * layout.SEGMENT_MAX


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        subject: the part that it is about.
        status: OK, NOTE (no judgement), WARNING (works, but) or BROKEN.
        text: what is so.
        remedy: what to do about it.
    """

    subject: str
    status: str
    text: str
    remedy: str | None = None


def check_installation(this: Interpreter) -> Iterator[Finding]:
    """Whether this interpreter and environment can record at all."""
    subject = "this environment"
    name = f"{this.implementation} {this.version_text}, {this.executable}"
    if not this.supported:
        free = ", ".join(".".join(map(str, version)) for version in FREE_THREADED)
        first, last = (".".join(map(str, version)) for version in SUPPORTED)
        yield Finding(
            subject,
            BROKEN,
            f"{name}: not supported",
            f"use CPython {first} to {last}, or a free-threaded {free}",
        )
        return
    yield Finding(subject, OK, name)
    again = "pip install --force-reinstall pythonaudit, in this environment"
    package = Path(pythonaudit.__file__).parent
    for file in (this.recorder_file, "_preload.abi3.so"):
        if not (package / file).is_file():
            yield Finding(subject, BROKEN, f"{package / file} is missing", again)
    if this.pth:
        yield Finding(subject, OK, f"pythonaudit {this.package_version}, pythonaudit.pth in {this.pth[0]}")
    else:
        yield Finding(
            subject, BROKEN, f"no pythonaudit.pth in {this.prefix}: PYTHONAUDIT=1 does nothing here", again
        )


def check_switch(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether recording is on where doctor was started."""
    value = environment.get("PYTHONAUDIT", "")
    if value in ("", "0"):
        text = "PYTHONAUDIT is not set here: what is started from here is not recorded"
        yield Finding("this environment", NOTE, text, 'eval "$(pythonaudit env)", or pythonaudit run -- COMMAND')
    else:
        yield Finding("this environment", OK, f"PYTHONAUDIT={value}: what is started from here is recorded")


def check_trial(subject: str, trial: Trial, directory: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether a real child of this interpreter recorded, into the right place, and how early.

    Args:
        subject: what the trial was of.
        trial: how it went.
        directory: where its journal should be.
        environment: with the settings that it was given.
    """
    for line in trial.complaints[:_COMPLAINTS_MOST]:
        remedy = "set it to what it takes, or unset it" if "PYTHONAUDIT_" in line else None
        yield Finding(subject, BROKEN, f"a child says: {line}", remedy)
    if trial.status:
        text = f"a child that does nothing ended {_ending(trial.status)}"
        yield Finding(subject, BROKEN, text, "unset PYTHONAUDIT until it is mended; the lines above may say why")
    if trial.summary is None or trial.path is None:
        if not trial.status:
            yield _no_journal(subject, trial.state, directory, environment)
        return
    summary = trial.summary
    if summary.header.canary != 1:
        text = "a child was started, but the recorder's own event did not come back: the hook is not in"
        yield Finding(subject, BROKEN, text, _REMEDIES["vetoed"])
        return
    began = summary.attributes.get("began")
    began = began if isinstance(began, dict) else {}
    if summary.header.way == layout.WAY_PRELOAD:
        how = "from event zero (preload): nothing ran before"
    else:
        modules, files = len(began.get("modules", ())), len(began.get("pth", ()))
        how = f"after {modules} modules and {files} other .pth file{'' if files == 1 else 's'}"
        if began.get("left_out"):
            how += " and more"
    yield Finding(
        subject,
        OK,
        f"a child recorded {how}; hook in, canary seen; {summary.events} events",
    )
    if not trial.path.is_relative_to(directory):
        yield Finding(
            subject,
            WARNING,
            f"its journal is in {trial.path.parent}, since {directory} could not be written",
            f"make {directory} writable, or set PYTHONAUDIT_DIR",
        )


def _ending(status: int) -> str:
    if status > 0:
        return f"with status {status}"
    try:
        return f"by {signal.Signals(-status).name}"
    except ValueError:
        return f"by signal {-status}"


def _no_journal(subject: str, state: str, directory: Path, environment: Mapping[str, str]) -> Finding:
    if state != "recording":
        text = f"a child left no journal: {_STATES.get(state, state or 'no reason said')}"
        return Finding(subject, BROKEN, text, _REMEDIES.get(state))
    obstacle = find_obstacle(directory, environment) or f"no segment of it is in {directory}"
    reason, _, remedy = obstacle.partition("; ")
    return Finding(subject, BROKEN, f"the hook is in, but a child's events are lost: {reason}", remedy or None)


#: A crash tells all its threads; what matters comes first.
_COMPLAINTS_MOST = 5

#: What `pythonaudit.recorder.status` calls them, for people.
_STATES = {
    "vetoed": "the recorder was kept out (vetoed)",
    "unsupported": "the recorder does not know this interpreter (unsupported)",
    "off": "the recorder is off in it",
    "failed": "the recorder could not begin (failed)",
}
_REMEDIES = {
    "vetoed": "another audit hook keeps ours out; see what sitecustomize or an earlier .pth file installs",
    "unsupported": "this interpreter is not supported by the recorder",
    "off": "PYTHONAUDIT does not reach the child; look for a wrapper that cleans the environment",
    "failed": "there is no memory, or the kernel refuses what the recorder needs",
}


def check_others(interpreters: Sequence[Interpreter]) -> Iterator[Finding]:
    """Which of the other interpreters and environments `PYTHONAUDIT=1` records."""
    subject = "other interpreters"
    uncovered = [one for one in interpreters if one.supported and not one.covered]
    for one in interpreters:
        name = f"{one.implementation} {one.version_text}, {one.executable}"
        if one.covered and one.package_version == pythonaudit.__version__:
            yield Finding(subject, OK, f"{name}: covered")
        elif one.covered:
            text = f"{name}: covered by version {one.package_version}"
            yield Finding(subject, NOTE, text, f"this is {pythonaudit.__version__}: install the same everywhere")
        elif one.supported:
            remedy = "python -m pip install pythonaudit in each of these, or pythonaudit run -- COMMAND"
            text = f"{name}: not covered by PYTHONAUDIT=1 alone"
            yield Finding(subject, NOTE, text, remedy if one is uncovered[-1] else None)
        else:
            yield Finding(subject, NOTE, f"{name}: not supported, nothing of it is recorded")
    if not interpreters:
        yield Finding(subject, NOTE, "none found on PATH, with pyenv or as the active environment")


def check_directory(directory: Path, uid: int) -> Iterator[Finding]:
    """Whether journals are private: to their owner, or in drop-boxes."""
    subject = "directory"
    journal = directory / "journal"
    try:
        state = os.lstat(journal)
    except OSError as error:
        parent = next(p for p in directory.parents if p.exists())
        remedy = f"mkdir -p {directory}, owned by the user who records, or set PYTHONAUDIT_DIR"
        yield Finding(subject, BROKEN, f"{journal}: {error.strerror}; its nearest parent is {parent}", remedy)
        return
    mode = stat.S_IMODE(state.st_mode)
    if not stat.S_ISDIR(state.st_mode):
        yield Finding(subject, BROKEN, f"{journal} is no directory", "move it away")
    elif mode & stat.S_ISVTX:
        text = f"{journal}: drop-boxes of all users (mode {mode:04o})"
        if mode & 0o044:
            yield Finding(subject, WARNING, f"{text}, whose names everybody can list", f"chmod 1733 {journal}")
        else:
            yield Finding(subject, OK, text)
    elif mode & 0o077:
        text = f"{journal} is open to others (mode {mode:04o})"
        yield Finding(subject, BROKEN, text, f"chmod 700 {journal}")
    elif state.st_uid not in (uid, 0):
        yield Finding(subject, BROKEN, f"{journal} belongs to user {state.st_uid}", "set PYTHONAUDIT_DIR")
    else:
        yield Finding(subject, OK, f"{journal}: private (mode {mode:04o})")


def check_fallback(directory: Path, uid: int) -> Iterator[Finding]:
    """Whether processes that could not write to the directory have left journals elsewhere."""
    for place in runtime_directories(os.environ.get("XDG_RUNTIME_DIR"), uid):
        if place != directory and (place / "journal").is_dir():
            yield Finding(
                "directory",
                WARNING,
                f"{place} has journals too, of processes that could not write to {directory}",
                "they are gone at the next logout or start of the machine; ingest or copy them before",
            )


def check_room(directory: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Disk room, the limit, and how much of it each box of this directory takes."""
    subject = "room"
    limit = limit_in(environment)
    try:
        boxes, _ = find_boxes(directory)
        disk = os.statvfs(directory)
    except (OSError, StoreError):
        return  # check_directory has said so
    used = 0
    for box in boxes:
        taken = bytes_taken(box)
        used += taken
        text = f"{box.path}: {_bytes(taken)} of {_bytes(limit)}"
        if taken <= limit:
            yield Finding(subject, OK, text)
        else:
            yield Finding(subject, WARNING, text, "open segments cannot be removed; raise PYTHONAUDIT_MAX_BYTES")
    free = disk.f_bavail * disk.f_frsize
    text = f"{_bytes(free)} free on the disk of {directory}"
    if free < _LEAST_FREE or disk.f_favail == 0 < disk.f_files:
        yield Finding(subject, BROKEN, f"{text}: events are being lost", "make room")
    elif boxes and free < limit - used:
        yield Finding(
            subject, WARNING, f"{text}: less than the limit allows", "make room, or lower PYTHONAUDIT_MAX_BYTES"
        )
    else:
        yield Finding(subject, OK, text)


def _bytes(count: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count} {unit}"
        count //= 1024
    return f"{count} GiB"


def check_journal(directory: Path) -> Iterator[Finding]:
    """Whether every segment can be read, and what was lost."""
    subject = "journal"
    try:
        boxes, refused = find_boxes(directory)
    except StoreError as error:
        yield Finding(subject, NOTE, str(error), error.hint)
        return
    broken = [(f"{damage.path}: {damage.reason}", _REFUSED) for damage in refused]
    processes: set[bytes] = set()
    losses: Counter[str] = Counter()
    segments = 0
    for file in list_segments(boxes):
        try:
            with open_segment(file) as descriptor:
                data = read_segment(descriptor)
            if is_unbegun(data):
                continue
            header = parse_header(data)
        except FileNotFoundError:
            continue  # removed since
        except RefusedError as error:
            broken.append((f"{file.path}: {error}", _REFUSED))
            continue
        except FormatError as error:
            broken.append((f"{file.path}: {error}", "keep a copy for investigation; nothing of it is shown"))
            continue
        segments += 1
        processes.add(header.process)
        losses.update(named_losses(header))
        damage = walk_chunks(data, header)[1]
        broken += [(f"{file.path}: {d.length} bytes at {d.offset}: {d.reason}", _DAMAGED) for d in damage]
    yield Finding(subject, OK, f"{segments} segments of {len(processes)} processes can be read")
    for text, remedy in broken:
        yield Finding(subject, BROKEN, text, remedy)
    for reason, count in sorted(losses.items()):
        yield Finding(subject, WARNING, f"{count} lost: {reason}", "see pythonaudit stats for when and where")


_REFUSED = "no recorder makes that: find out who put it there, and remove it; nothing of it is read"
_DAMAGED = "keep a copy for investigation; what is sound in it is still shown"
