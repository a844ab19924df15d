"""What becomes of segments whose events are in the archive.

- In boxes of this user, those of processes that have ended are removed.
- Those of processes that go on, and all in boxes of others, are published as drained: the process, whoever it
  belongs to, uses them again. In a box of others nothing is touched.
- One with damage is kept in `DIR/damaged/`: moved there, or copied where its process may use it again. What
  can be read of it is in the archive.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pythonaudit.archive.covered import Covered
from pythonaudit.durable import write_durably
from pythonaudit.errors import StoreError
from pythonaudit.journal import files, layout
from pythonaudit.journal.drained import publish_drained
from pythonaudit.journal.process import build_process
from pythonaudit.journal.reader import Journal, SegmentHead
from pythonaudit.journal.survey import parse_name


@dataclass(slots=True)
class Released:
    """What was done.

    Attributes:
        damaged: segments with damage, and where they are kept.
        unpublished: directories in which could not be said what has been read, and why: nothing is lost, but
            processes use more room.
    """

    damaged: dict[Path, Path] = field(default_factory=dict)
    unpublished: dict[Path, str] = field(default_factory=dict)


def release(
    journal: Journal, heads: Sequence[SegmentHead], closed: Sequence[SegmentHead], covered: Covered
) -> Released:
    """Lets go of all closed segments that are in the archive.

    Args:
        journal: where they are.
        heads: all segments. `closed`: those in which nothing more can come.
        covered: those that are in the archive.

    Raises:
        OSError: a file cannot be removed or kept.
    """
    found = Released()
    over = {_owner(head) for head in closed if _is_of_ended(head)}
    for head in closed:
        if not covered.has(head.key) or head.file.uid != os.geteuid():
            continue
        is_over = _owner(head) in over
        if covered.was_damaged(head.key):
            found.damaged[head.file.path] = _keep(head, is_over)
        elif is_over:
            head.file.path.unlink(missing_ok=True)
    going_on = [head for head in heads if _owner(head) not in over]
    for (directory, process), segments in _drained(journal, going_on, covered).items():
        try:
            publish_drained(directory, process.hex(), segments)
        except StoreError as error:
            found.unpublished[directory] = str(error)
    return found


def _is_of_ended(head: SegmentHead) -> bool:
    """Whether a closed segment shows that its process has ended: it is the last, or nobody lives."""
    is_last = head.header.state != layout.STATE_ROTATED
    return is_last or build_process(head.header, (), head.file.uid).is_running is False


def _drained(journal: Journal, heads: Sequence[SegmentHead], covered: Covered) -> dict[tuple[Path, bytes], int]:
    """How many segments of each process, from the first, are not wanted any more: all before the first that is
    not in the archive. Those that are not there at all have gone before.
    """
    wanted: dict[str, int] = {}  # the first
    for path in {one.path for one in journal.damage()} - {head.file.path for head in heads}:
        process, number = parse_name(path)
        if process is not None and number is not None:
            wanted[process] = min(number, wanted.get(process, number))
    for head in heads:
        process, sequence = head.header.process.hex(), head.header.sequence
        if not covered.has(head.key):
            wanted[process] = min(sequence, wanted.get(process, sequence))
    found: dict[tuple[Path, bytes], int] = {}
    for head in heads:
        sequence, place = head.header.sequence, (_directory(head), head.header.process)
        is_before = sequence < wanted.get(head.header.process.hex(), sequence + 1)
        if head.header.state == layout.STATE_ROTATED and is_before:
            found[place] = max(sequence + 1, found.get(place, 0))
    return found


def _keep(head: SegmentHead, is_over: bool) -> Path:
    """Keeps a damaged segment; where its process goes on, a copy of it."""
    path = _directory(head) / "damaged" / head.file.path.name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if is_over:
        with suppress(FileNotFoundError):  # evicted
            os.rename(head.file.path, path)
    elif not path.exists():
        with suppress(FileNotFoundError, files.RefusedError), files.open_segment(head.file) as descriptor:
            content = files.read_segment(descriptor)
            if files.still_holds(descriptor, head.header):
                write_durably(path, content)
    return path


def _owner(head: SegmentHead) -> tuple[bytes, int]:
    """Process and user: another user's segments can say that they are of the same process, and must not matter."""
    return head.header.process, head.file.uid


def _directory(head: SegmentHead) -> Path:
    """That of `PYTHONAUDIT_DIR`."""
    return head.file.path.parents[2]
