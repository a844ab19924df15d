"""Which files are journals, and private copies of them.

Every user may write in a directory that root reads, so nothing here trusts a name: directories and
files are opened without following links, files must be regular, with one link, and owned by the
owner of their box; nothing is ever mapped (its owner could cut it off under us).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pythonaudit.errors import FormatError, StoreError
from pythonaudit.journal.chunks import Damage, Header, is_same_segment
from pythonaudit.journal.layout import CHUNK_HEADER_SIZE, HEADER_SIZE, SEGMENT_MAX

SUFFIX = ".pyaudit"

#: Whoever owns a box can put any number of files into it. What is listed of it is no more than an honest one has:
#: at the default limit, files of 16 KiB.
BOX_FILES = 1 << 17
#: Everybody can make boxes in a directory that is shared.
BOXES = 1 << 12

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class RefusedError(Exception):
    """A file that is no journal of the user who owns the box, or cannot be read; says why."""


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """The directory of one user's segments.

    Attributes:
        path: where it is.
        uid: who owns it, and so all that is in it.
        changed_ns: when an entry was last added or removed.
    """

    path: Path
    uid: int
    changed_ns: int


@dataclass(frozen=True, slots=True, order=True)
class SegmentFile:
    """The name of a segment, not yet opened."""

    path: Path
    uid: int


def runtime_directories(runtime: str | None, uid: int) -> list[Path]:
    """Where a process keeps its journal when it cannot write to its directory.

    Args:
        runtime: `XDG_RUNTIME_DIR`.
        uid: of the user.
    """
    places = [Path(runtime)] if runtime else []
    places.append(Path(f"/run/user/{uid}"))
    return list(dict.fromkeys(place / "pythonaudit" for place in places))


def find_boxes(directory: Path) -> tuple[list[Box], list[Damage]]:
    """The boxes of a directory (that of `PYTHONAUDIT_DIR`), and what was refused.

    Raises:
        StoreError: there is no journal, or it may not be read.
    """
    journal = directory / "journal"
    boxes: list[Box] = []
    refused: list[Damage] = []
    try:
        names = os.listdir(journal)
    except FileNotFoundError:
        raise StoreError(
            f"nothing is recorded in {directory}",
            hint="record with PYTHONAUDIT=1 or 'pythonaudit run', or name another place with --dir",
        ) from None
    except PermissionError:
        # A drop-box directory: everybody may enter it, and only its owner may look round.
        names = [f"u{os.geteuid()}"]
        if not os.access(journal / names[0], os.X_OK):
            raise StoreError(
                f"{journal} may not be read by this user", hint="run it as the directory's owner"
            ) from None
    except NotADirectoryError as error:
        hint = "--dir takes a directory that holds recordings, as PYTHONAUDIT_DIR does"
        raise StoreError(f"{journal}: {error.strerror}", hint=hint) from None
    except OSError as error:
        raise StoreError(f"{journal}: {error.strerror}") from None
    names = sorted(filter(_is_box_name, names), key=lambda name: (not name[1:].isdecimal(), name))
    if len(names) > BOXES:
        refused.append(Damage(journal, 0, 0, f"{len(names)} boxes: no more than {BOXES} are read"))
    for name in names[:BOXES]:
        path = journal / name
        try:
            box = os.open(path, _DIRECTORY)
        except FileNotFoundError:
            continue
        except OSError as error:
            refused.append(Damage(path, 0, 0, f"no box: {error.strerror}"))
            continue
        try:
            state = os.fstat(box)
        finally:
            os.close(box)
        boxes.append(Box(path, state.st_uid, state.st_mtime_ns))
    return boxes, refused


def _is_box_name(name: str) -> bool:
    return name.startswith("u")


def list_box(box: Box) -> list[SegmentFile]:
    """The names in a box that could be segments, oldest first. A box that has gone is empty."""
    return [SegmentFile(box.path / name, box.uid) for name in list_names(box)]


def list_names(box: Box) -> list[str]:
    """The same as names. Of more than `BOX_FILES`, so many of them."""
    try:
        descriptor = os.open(box.path, _DIRECTORY)
    except OSError:
        return []
    try:
        with os.scandir(descriptor) as entries:
            names = [entry.name for entry in islice(entries, BOX_FILES)]
    finally:
        os.close(descriptor)
    return sorted(name for name in names if name.endswith(SUFFIX))


@contextmanager
def open_segment(file: SegmentFile) -> Iterator[int]:
    """Opens a segment for reading; gives the descriptor.

    Raises:
        FileNotFoundError, RefusedError: as `open_file`.
    """
    descriptor = open_file(file)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_file(file: SegmentFile) -> int:
    """Opens a segment for reading; gives the descriptor, which the caller closes.

    Raises:
        FileNotFoundError: it has been removed.
        RefusedError: it is not what a recorder makes, or may not be read.
    """
    try:
        box = os.open(file.path.parent, _DIRECTORY)
        try:
            descriptor = os.open(file.path.name, _FILE, dir_fd=box)
        finally:
            os.close(box)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = "a symbolic link" if file.path.is_symlink() else error.strerror
        raise RefusedError(f"refused: {reason}") from None
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise RefusedError("refused: not a regular file")
        if state.st_nlink > 1:
            raise RefusedError("refused: it has other hard links")
        if state.st_uid != file.uid:
            raise RefusedError(f"refused: owned by {state.st_uid}, in a box of {file.uid}")
    except RefusedError:
        os.close(descriptor)
        raise
    return descriptor


def read_segment(descriptor: int, most: int = SEGMENT_MAX) -> bytes:
    """A private copy of a segment, or of its first bytes."""
    parts: list[bytes] = []
    length = 0
    while length < most:
        part = os.pread(descriptor, most - length, length)
        if not part:
            break
        parts.append(part)
        length += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_segment_into(descriptor: int, copy: memoryview) -> int:
    """The same into memory that is there already; how much there was."""
    length = 0
    while length < len(copy):
        part = os.preadv(descriptor, [copy[length:]], length)
        if not part:
            break
        length += part
    return length


def still_holds(descriptor: int, header: Header) -> bool:
    """Whether a file is the segment that it was. Asked after a copy: only then the copy is all of one segment."""
    try:
        return is_same_segment(header, read_segment(descriptor, HEADER_SIZE + CHUNK_HEADER_SIZE))
    except FormatError:
        return False


def is_too_long(descriptor: int) -> bool:
    """Whether there is more than a segment can have: the rest is not read."""
    return os.fstat(descriptor).st_size > SEGMENT_MAX


def list_segments(boxes: Iterable[Box]) -> Sequence[SegmentFile]:
    """The segments of several boxes."""
    return [file for box in boxes for file in list_box(box)]
