"""Room for journals: how much there may be, how much there is, and what is in the way of one more.

Standard library only.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pythonaudit.errors import StoreError
from pythonaudit.journal.files import Box, find_boxes, list_segments

#: The recorder's own default of PYTHONAUDIT_MAX_BYTES, and the units it takes.
DEFAULT_LIMIT = 2 << 30
_SIZE = re.compile(r"(\d+)(?:([kmg])(?:ib)?)?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
#: What a process that begins allocates (native/segment.h).
_FIRST_SEGMENT = 128 << 10


def parse_size(text: str) -> int | None:
    """Bytes of a PYTHONAUDIT_MAX_BYTES such as `512M`; None when it makes no sense."""
    match = _SIZE.fullmatch(text)
    return int(match[1]) * _UNITS[(match[2] or "").lower()] if match else None


def limit_in(environment: Mapping[str, str]) -> int:
    """PYTHONAUDIT_MAX_BYTES of an environment, in bytes."""
    return parse_size(environment.get("PYTHONAUDIT_MAX_BYTES", "")) or DEFAULT_LIMIT


def bytes_taken(box: Box) -> int:
    """Bytes allocated to the segments of a box."""
    taken = 0
    for file in list_segments([box]):
        try:
            taken += os.lstat(file.path).st_blocks * 512
        except FileNotFoundError:
            continue  # removed since
    return taken


def find_obstacle(directory: Path, environment: Mapping[str, str]) -> str | None:
    """Why a process of this user that begins now could make no segment here.

    A file of that size is made, and removed at once, under a name that is no journal's.

    Args:
        directory: that of PYTHONAUDIT_DIR.
        environment: with the limit, and what is to happen there.

    Returns:
        What is in the way, with what to do about it; None: nothing.
    """
    journal = directory / "journal"
    try:
        boxes = [box for box in find_boxes(directory)[0] if box.uid == os.geteuid()]
    except StoreError as error:
        return str(error)
    if environment.get("PYTHONAUDIT_ON_FULL") == "stop":
        limit = limit_in(environment)
        for box in boxes:
            if bytes_taken(box) + _FIRST_SEGMENT > limit:
                return f"{box.path} has reached PYTHONAUDIT_MAX_BYTES ({limit} bytes); raise it, or remove old segments"
    place = boxes[0].path if boxes else journal
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            os.posix_fallocate(file.fileno(), 0, _FIRST_SEGMENT)
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "see 'pythonaudit doctor'")
        return f"no segment can be made in {place}: {error.strerror}; {remedy}"
    return None


_REMEDIES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there, or raise the quota",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EACCES: "make it writable for this user",
    errno.EPERM: "make it writable for this user",
    errno.EROFS: "name another place with --dir or PYTHONAUDIT_DIR",
}
