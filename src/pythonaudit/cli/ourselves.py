"""How this very process is recorded: a command is often given inside a recorded tree.

The preload shim takes its variables out of the environment, so that programs see none of it
(native/preload.c). A command of ours has to see them, or it would look in the wrong place; the
block that the kernel was given, /proc/self/environ, has them still.

Standard library and the recorder only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypedDict

_PREFIX = b"PYTHONAUDIT"

_has_begun_itself = False


class Status(TypedDict):
    """What the recorder says of this process (`pythonaudit.recorder`)."""

    state: str
    process: str
    root: str
    directory: str
    canary: bool
    committed: int
    trouble: str


def environment_in_force() -> dict[str, str]:
    """The environment of this process, with the variables in it that the recorder hides."""
    environment = dict(os.environ)
    root = "" if _has_begun_itself else _told("root")
    if not root or "PYTHONAUDIT" in environment:
        return environment
    try:
        entries = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        entries = []
    hidden = dict(
        os.fsdecode(entry).split("=", 1) for entry in entries if entry.startswith(_PREFIX) and b"=" in entry
    )
    return {"PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": root} | hidden | environment


def own_process() -> str:
    """The id under which this process is recorded, 32 hexadecimal digits; empty if it is not."""
    return _told("process")


def record(directory: str, events: str, is_agent: bool = False) -> Status:
    """Records this process from now on, if nothing does so yet; how it is recorded then.

    Args:
        directory: as PYTHONAUDIT_DIR.
        events: as PYTHONAUDIT_EVENTS.
        is_agent: this is the agent, and no command that ends soon.

    Raises:
        ImportError: the recorder cannot be loaded.
    """
    from pythonaudit import recorder

    global _has_begun_itself
    told = recorder.status()
    if not told["process"] and not told["root"]:
        _has_begun_itself = True
        recorder.start_command(os.path.dirname(os.__file__), directory, events, is_agent)
        told = recorder.status()
    return told


def status() -> Status:
    """How this process is recorded; see `pythonaudit.recorder`."""
    from pythonaudit import recorder

    return recorder.status()


def _told(key: str) -> str:
    try:
        told = status()
    except ImportError:  # reading takes no recorder: one that cannot be loaded is doctor's to report
        return ""
    return str(told.get(key, ""))
