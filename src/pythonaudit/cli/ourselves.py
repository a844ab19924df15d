"""How this very process is recorded: a command is often given inside a recorded tree.

The preload shim takes its variables out of the environment, so that programs see none of it
(native/preload.c). A command of ours has to see them, or it would look in the wrong place; the
block that the kernel was given, /proc/self/environ, has them still.

Standard library and the recorder only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_PREFIX = b"PYTHONAUDIT"


def environment_in_force() -> dict[str, str]:
    """The environment of this process, with the variables in it that the recorder hides."""
    environment = dict(os.environ)
    root = _status("root")
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
    return _status("process")


def _status(key: str) -> str:
    try:
        from pythonaudit.recorder import status
    except ImportError:  # reading takes no recorder: one that cannot be loaded is doctor's to report
        return ""
    told: Mapping[str, object] = status()
    return str(told.get(key, ""))
