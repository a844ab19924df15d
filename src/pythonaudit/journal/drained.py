"""How far the segments of a process have been read out, told to the process, which uses them again.

A reader never writes to a journal of others. It publishes in the directory, beside `journal`, one small
file for each process: the number of its segments, from the first, that it has read to their end and
wants no more. The recorder looks there when it begins a segment (docs/format/journal.md section 13).

    publish_drained(Path("/var/log/pythonaudit"), process, 7)   # segments 0 to 6 are ours

Only segments that will not change any more are read to their end: those in state `rotated`, both copies
of which were taken after that. What is published is a promise: those segments may be gone at once.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pythonaudit.errors import StoreError
from pythonaudit.journal.layout import DRAINED, DRAINED_MAGIC

NAME = "drained"

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def publish_drained(directory: Path, process: str, segments: int) -> None:
    """Says that the first segments of a process have been read out; atomically, and again and again.

    Args:
        directory: that of `PYTHONAUDIT_DIR`, which has to be this user's own.
        process: its id, 32 hexadecimal digits.
        segments: how many: all whose `sequence` is lower.

    Raises:
        StoreError: it is not this user's directory, or cannot be written.
    """
    identity = bytes.fromhex(process)
    content = DRAINED.pack(DRAINED_MAGIC, identity, segments, 0)
    name = identity.hex()
    try:
        above = _open_own(directory, None)
        try:
            if not _exists(NAME, above):
                os.mkdir(NAME, 0o700, dir_fd=above)
            place = _open_own(NAME, above)
            os.fchmod(place, 0o711)  # whatever the umask: each process may open its own, and list nothing
        finally:
            os.close(above)
        try:
            _write(place, f"{name}.new", content)
            os.replace(f"{name}.new", name, src_dir_fd=place, dst_dir_fd=place)
        finally:
            os.close(place)
    except OSError as error:
        raise StoreError(f"{directory / NAME}: {error.strerror}") from None


def _exists(name: str, above: int) -> bool:
    try:
        os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _open_own(path: Path | str, above: int | None) -> int:
    """Opens a directory that nobody else can have laid for us."""
    opened = os.open(path, _DIRECTORY | (os.O_NOFOLLOW if above is not None else 0), dir_fd=above)
    state = os.fstat(opened)
    if state.st_uid != os.geteuid() or state.st_mode & 0o022:
        os.close(opened)
        hint = "how far was read is published by the owner of the directory, who alone can write to it"
        raise StoreError(f"{path} is not this user's own directory", hint=hint)
    return opened


def _write(place: int, name: str, content: bytes) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=place)  # left by a reader that was killed
    file = os.open(name, _FILE, 0o644, dir_fd=place)
    try:
        os.fchmod(file, 0o644)  # whatever the umask: the process may be another user's
        os.write(file, content)
    finally:
        os.close(file)
