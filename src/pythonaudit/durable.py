"""Files that are there whole or not at all, also after a loss of power. The standard library only."""

from __future__ import annotations

import os
from pathlib import Path

NEW = ".new"  # what is not yet in place


def write_durably(path: Path, content: bytes) -> None:
    """Puts a file in place whole, with mode 0600.

    Raises:
        OSError: it could not be written; then what was there before is there still.
    """
    new = path.with_name(path.name + NEW)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes durable which files are in a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
