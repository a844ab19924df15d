"""A real process, recorded on trial: does it leave a journal, and how early did that begin?

The child is started with the caller's own settings and records into the real directory, as every
other process would; what it left is found by its pid. It does nothing but end, as every program
does: whether it can is a part of the trial.

Standard library only.
"""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pythonaudit.errors import FormatError, StoreError
from pythonaudit.journal.files import SegmentFile, find_boxes, list_box, runtime_directories
from pythonaudit.journal.summary import Summary, summarise

_PROGRAM = "pass  # pythonaudit doctor"
_STATE = "from pythonaudit.recorder import status; print(status()['state'])"
_TIMEOUT_SECONDS = 60
#: Clocks may be corrected between the child's first look at them and ours.
_CLOCK_SLACK_NS = 10 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of the child.

    Attributes:
        status: its exit status, or minus the number of the signal that ended it; None: it could not
            be started, or did not end.
        complaints: what it said on stderr, line by line.
        path: its segment; None: it left none.
        summary: what is in that.
        state: without a segment, what the recorder says of itself in a second child.
    """

    status: int | None
    complaints: tuple[str, ...]
    path: Path | None
    summary: Summary | None
    state: str


def try_recording(
    executable: Path, arguments: Sequence[str], environment: Mapping[str, str], directory: Path
) -> Trial:
    """Runs a child that should be recorded, and looks for what it left.

    Args:
        executable: the interpreter.
        arguments: its options.
        environment: the child's environment.
        directory: where its journal should be.
    """
    began_ns = time.time_ns() - _CLOCK_SLACK_NS
    try:
        child = subprocess.Popen(
            [executable, *arguments, "-c", _PROGRAM],
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        return Trial(None, (str(error),), None, None, "")
    with child:
        try:
            said = child.communicate(timeout=_TIMEOUT_SECONDS)[1]
        except subprocess.TimeoutExpired:
            child.kill()
            return Trial(None, (f"it did not end within {_TIMEOUT_SECONDS} s",), None, None, "")
    complaints = tuple(filter(None, said.decode("utf-8", "replace").splitlines()))
    for file in _recent_segments(directory, began_ns):
        try:
            summary = summarise(file.path)
        except FormatError:
            continue
        if summary and summary.header.pid == child.pid and summary.header.begin_realtime >= began_ns:
            return Trial(child.returncode, complaints, file.path, summary, "")
    state = _ask_state(executable, environment) if child.returncode == 0 else ""
    return Trial(child.returncode, complaints, None, None, state)


def _recent_segments(directory: Path, since_ns: int) -> Iterator[SegmentFile]:
    """This user's segments that began after a moment: in the directory, then where it falls back to."""
    uid = os.geteuid()
    for place in (directory, *runtime_directories(os.environ.get("XDG_RUNTIME_DIR"), uid)):
        try:
            boxes, _ = find_boxes(place)
        except StoreError:
            continue
        for box in boxes:
            if box.uid == uid:
                first = f"{since_ns:016x}"
                yield from (file for file in list_box(box) if file.path.name >= first)


def _ask_state(executable: Path, environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            [executable, "-c", _STATE],
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    said = done.stdout if done.returncode == 0 else done.stderr
    lines = said.decode("utf-8", "replace").splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}"
