"""Only one agent a directory, and what it says of itself.

    DIR/agent/lock        flock(2): the agent that runs here holds it
    DIR/agent/status      what it said last: one object of JSON

The lock ends with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from pythonaudit.durable import NEW
from pythonaudit.errors import StoreError

_STATUS_MAX = 1 << 20


class Presence:
    """The agent of a directory: it is there as long as this is.

    Args:
        directory: that of `PYTHONAUDIT_DIR`.

    Raises:
        StoreError: there is another one, or the directory cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self.root = directory / "agent"
        try:
            directory.mkdir(mode=0o711, parents=True, exist_ok=True)  # users go through it to their boxes
            self.root.mkdir(mode=0o700, exist_ok=True)
            self._lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            hint = "run it as the directory's owner"
            raise StoreError(f"{error.filename or self.root}: {error.strerror}", hint=hint) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            pid = read_status(directory).get("pid")
            who = f", process {pid}" if type(pid) is int else ""
            raise StoreError(f"an agent runs in {directory} already{who}", hint="one is enough") from None

    def tell(self, status: dict[str, Any]) -> None:
        """Says how things are.

        Raises:
            OSError: it could not be written.
        """
        path = self.root / "status"
        new = path.with_name(path.name + NEW)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(status, file)
        os.replace(new, path)

    def end(self) -> None:
        """There is no agent here any more."""
        os.close(self._lock)


def is_running(directory: Path) -> bool:
    """Whether an agent runs in a directory.

    Raises:
        StoreError: that may not be asked.
    """
    try:
        descriptor = os.open(directory / "agent" / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        hint = "run it as the directory's owner"
        raise StoreError(f"{directory / 'agent'}: {error.strerror}", hint=hint) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def read_status(directory: Path) -> dict[str, Any]:
    """What the agent of a directory said last; empty: nothing that can be read."""
    with (
        suppress(OSError, ValueError, RecursionError),
        open(directory / "agent" / "status", encoding="utf-8") as file,
    ):
        said = json.loads(file.read(_STATUS_MAX))
        if isinstance(said, dict):
            return said
    return {}
