"""`pythonaudit run -- COMMAND`: records a command and all its children, from their first event on.

The command's environment names the preload shim in LD_PRELOAD; everything else about the command
is as if it had been started directly (supervise.py): terminal, descriptors, signals, exit status.
At its end one line on stderr tells what was recorded:

    pythonaudit: run 01J9Z8...: 3 processes, 1204 events, nothing lost; see: pythonaudit log --run 01J9Z8...

or, where no process left a journal, that none did: because none ran Python, or for want of room.

With `-q` there is no such line, and nobody who would have to wait for the end to write it: the
command takes the place of this process.

Exit status: the command's; 127 where it is not found, 126 where it cannot be executed; 3 where there
is no place to record to, before anything is run.

Standard library only: it runs on a base installation.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import secrets
import shlex
import stat
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from pythonaudit.cli import default_directory, supervise
from pythonaudit.cli.cmd_env import SHIM, SYSTEM_DIRECTORY
from pythonaudit.cli.ourselves import environment_in_force
from pythonaudit.cli.render import amount, say
from pythonaudit.cli.room import find_obstacle
from pythonaudit.errors import FormatError, StoreError, UnsupportedError, UsageError
from pythonaudit.journal import layout
from pythonaudit.journal.files import find_boxes, list_segments, runtime_directories
from pythonaudit.journal.liveness import is_running
from pythonaudit.journal.summary import summarise

#: What the recorder keeps of PYTHONAUDIT_RUN (native/settings.h).
LABEL_MAX_BYTES = 127
_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O, U
#: The reason of loss that counts processes, not events.
_UNRECORDED = "unrecorded-child"


@dataclass(slots=True)
class Recorded:
    """What a run left in the journal.

    Attributes:
        processes: those that recorded, 32 hexadecimal digits each.
        events: how many they recorded.
        losses: what was lost, by reason.
        unreadable: segments of the time of the run that cannot be read.
        running: processes that have not ended.
    """

    processes: set[str] = field(default_factory=set)
    events: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    running: set[str] = field(default_factory=set)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.usage = f"{parser.prog} [-q] [--label LABEL] [--dir DIR] -- COMMAND [ARGUMENT ...]"
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing at the end")
    parser.add_argument("--label", help="name of the run, for --run (default: a new one that sorts by time)")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to run")


def run(args: argparse.Namespace) -> int:
    """Runs the command; its exit status.

    Raises:
        UsageError: there is no command, or the label makes no sense.
        StoreError: the directory cannot be made or written.
        UnsupportedError: the shim is missing, or LD_PRELOAD cannot name it.
        CommandError: the command cannot be started.
    """
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise UsageError("there is no command to run", hint="pythonaudit run -- COMMAND")
    label = new_label(time.time_ns()) if args.label is None else check_label(args.label)
    check_shim(SHIM)
    directory = args.dir.absolute()
    make_directory(directory)
    own = environment_in_force()
    environment = build_environment({os.fsencode(k): os.fsencode(v) for k, v in own.items()}, directory, label)
    if args.quiet:
        supervise.replace(command, environment)
    began_ns = time.time_ns()
    earlier = frozenset(_segments_since(directory, began_ns))  # a label can have been used before
    returncode = supervise.run(command, environment)
    # Nothing that happens here may change how the command ended.
    with contextlib.suppress(KeyboardInterrupt, OSError):
        recorded = collect(directory, label, began_ns, earlier)
        where = (
            "" if directory == default_directory(own, os.geteuid()) else f" --dir {shlex.quote(str(directory))}"
        )
        if recorded.processes:
            said = f"{describe(recorded)}; see: pythonaudit log{where} --run {shlex.quote(label)}"
        elif recorded.unreadable:
            said = f"nothing that can be read was recorded; see: pythonaudit doctor{where}"
        elif obstacle := find_obstacle(directory, own):
            said = f"nothing was recorded: {obstacle}"
        else:
            said = f"no Python process was recorded; if there was one, see: pythonaudit doctor{where}"
        say(f"run {label}: {said}")
    return supervise.end_as(returncode)


def new_label(now_ns: int) -> str:
    """A ULID: 26 characters, of which the first ten are the milliseconds since 1970."""
    number = (now_ns // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(_BASE32[number >> shift & 31] for shift in range(125, -1, -5))


def check_label(label: str) -> str:
    """The label, if the recorder and `--run` take it.

    Raises:
        UsageError: they do not.
    """
    if not label.isprintable() or not 0 < len(os.fsencode(label)) <= LABEL_MAX_BYTES:
        raise UsageError(f"--label {label!a}: a label is 1 to {LABEL_MAX_BYTES} bytes of text that prints")
    if label == "last":
        raise UsageError("--label last: this is what --run calls the latest run", hint="choose another")
    return label


def check_shim(shim: Path) -> None:
    """Whether LD_PRELOAD can name the shim.

    Raises:
        UnsupportedError: it cannot, or there is none.
    """
    if not shim.is_file():
        raise UnsupportedError(
            f"{shim} is missing", hint="pip install --force-reinstall pythonaudit, in this environment"
        )
    if any(char in str(shim) for char in " :"):
        raise UnsupportedError(
            f"LD_PRELOAD cannot name {str(shim)!r}, which holds a space or a colon",
            hint="install pythonaudit in an environment whose path has neither",
        )


def make_directory(directory: Path) -> None:
    """Makes the directory for journals, as the recorder would (native/store.h).

    Raises:
        StoreError: it cannot be made or written.
    """
    shared = directory == Path(SYSTEM_DIRECTORY)
    journal = directory / "journal"
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        for path, mode in ((directory, 0o711 if shared else 0o700), (journal, 0o1733 if shared else 0o700)):
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                if not stat.S_ISDIR(path.stat().st_mode):
                    raise
            else:
                path.chmod(mode)  # whatever the umask
        writable = os.access(journal, os.W_OK | os.X_OK, effective_ids=True)
    except OSError as error:
        raise StoreError(f"{error.filename}: {error.strerror}", hint=_ELSEWHERE) from None
    if not writable:
        raise StoreError(f"{journal} cannot be written", hint=_ELSEWHERE)


_ELSEWHERE = "name another place with --dir or PYTHONAUDIT_DIR"


def build_environment(own: Mapping[bytes, bytes], directory: Path, label: str) -> dict[bytes, bytes]:
    """The command's environment: our own, with the variables that turn recording on at its end."""
    environment = dict(own)
    if b"LC_CTYPE" not in _names_at_start():
        environment.pop(b"LC_CTYPE", None)  # PEP 538: the interpreter has set it, for itself
    preload = environment.pop(b"LD_PRELOAD", None)
    if preload is not None:  # as it is, but for ourselves: the program sees it when the shim is taken out
        preload, ours_there = re.subn(rb"(^|[: ])%b(?![^: ])" % re.escape(bytes(SHIM)), b"", preload)
        preload = None if ours_there and not preload else preload
    ours = {
        b"PYTHONAUDIT": b"1",
        b"PYTHONAUDIT_DIR": bytes(directory),
        b"PYTHONAUDIT_RUN": os.fsencode(label),
        b"LD_PRELOAD": bytes(SHIM) if preload is None else preload + b":" + bytes(SHIM),
    }
    for name in ours:
        environment.pop(name, None)
    return environment | ours


def _names_at_start() -> set[bytes]:
    try:
        entries = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return {b"LC_CTYPE"}
    return {entry.partition(b"=")[0] for entry in entries}


def collect(directory: Path, label: str, began_ns: int, earlier: Set[Path] = frozenset()) -> Recorded:
    """What the journals hold of a run.

    Args:
        directory: where they are; processes that could not write there wrote to the runtime directory.
        label: of the run.
        began_ns: when it began: older segments are not looked at.
        earlier: segments that were there before it began.
    """
    recorded = Recorded()
    for path in _segments_since(directory, began_ns):
        if path in earlier:
            continue
        try:
            summary = summarise(path)
        except FormatError:
            recorded.unreadable += 1
            continue
        if summary is None or summary.run != label:
            continue
        recorded.processes.add(summary.process)
        recorded.events += summary.events
        recorded.losses.update(summary.losses)
        recorded.unreadable += bool(summary.damage)
        header = summary.header
        if header.state == layout.STATE_OPEN and is_running(
            header.boot.hex(), header.pid_namespace, header.pid, header.pid_start
        ):
            recorded.running.add(summary.process)
    return recorded


def _segments_since(directory: Path, began_ns: int) -> Iterator[Path]:
    uid = os.geteuid()
    places = (directory, *runtime_directories(os.environ.get("XDG_RUNTIME_DIR"), uid))
    for place in dict.fromkeys(places):
        try:
            boxes, _ = find_boxes(place)
        except StoreError:
            continue
        # Names begin with the time; another clock may be a little behind ours.
        first = f"{began_ns - 1_000_000_000:016x}"
        yield from (file.path for file in list_segments(boxes) if file.path.name >= first)


def describe(recorded: Recorded) -> str:
    """How much was recorded, and lost."""
    losses = recorded.losses.copy()
    silent = losses.pop(_UNRECORDED, 0)
    parts = [amount(len(recorded.processes), "process", "processes"), amount(recorded.events, "event", "events")]
    if losses:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(losses.items()))
        parts.append(f"{losses.total()} lost ({reasons})")
    if silent:
        parts.append(f"{amount(silent, 'process', 'processes')} without a journal")
    if recorded.unreadable:
        parts.append(f"{amount(recorded.unreadable, 'segment', 'segments')} damaged")
    if recorded.running:
        parts.append(f"{amount(len(recorded.running), 'process is', 'processes are')} still running")
    if len(parts) == 2:
        parts.append("nothing lost")
    return ", ".join(parts)
