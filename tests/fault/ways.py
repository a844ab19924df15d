"""A program as it is without us, and the same program recorded: through each of the two ways in.

- `site`: PYTHONAUDIT=1 in an environment that pythonaudit is installed in;
- `preload`: `pythonaudit run`.

Whatever a test does to a process, it must come out the same. So programs print what they have found out, and
nothing that changes from run to run.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import EXTREMES, TIMEOUT_SECONDS, Installed, Recording

WAYS = ("site", "preload")
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do this to a process")
#: For what takes long, or where the version matters little.
OLDEST_AND_NEWEST = pytest.mark.parametrize(
    "interpreter",
    EXTREMES,
    ids=lambda i: i.version_text,
    indirect=True,
    scope="session",
)


def said(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    """What anybody can see of a program: its status, and what it wrote."""
    return done.returncode, done.stdout, done.stderr


def words_of(installed: Installed, way: str, directory: Path) -> list[str]:
    """What goes before a command to record it this way."""
    if way == "site":
        return []
    return [str(installed.python), "-m", "pythonaudit", "run", "-q", "--dir", str(directory), "--"]


def run_bare(
    installed: Installed,
    program: str | Sequence[str | Path],
    settings: Mapping[str, str | Path] | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Runs a program's text, or a command, without us."""
    command = [installed.python, "-c", program] if isinstance(program, str) else program
    environment = installed.environment(**(settings or {}))
    return _run([*map(str, command)], environment, options)


def record(
    installed: Installed,
    way: str,
    program: str | Sequence[str | Path],
    settings: Mapping[str, str | Path] | None = None,
    directory: Path | None = None,
    **options: Any,
) -> Recording:
    """Runs the same recorded, in this way."""
    directory = directory or installed.new_directory()
    command = [installed.python, "-c", program] if isinstance(program, str) else program
    environment = installed.environment(**(settings or {}))
    if way == "site":
        environment |= {"PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": str(directory)}
    words = [*words_of(installed, way, directory), *map(str, command)]
    return Recording(directory, _run(words, environment, options))


def record_beside(
    installed: Installed,
    way: str,
    program: str | Sequence[str | Path],
    settings: Mapping[str, str | Path] | None = None,
    directory: Path | None = None,
    *,
    status: int | None = 0,
    **options: Any,
) -> Recording:
    """Runs it bare and recorded: nobody can tell them apart. `status`: what both end with; None for any."""
    bare = run_bare(installed, program, settings, **options)
    assert status is None or bare.returncode == status, said(bare)
    recording = record(installed, way, program, settings, directory, **options)
    assert said(recording.completed) == said(bare)
    return recording


def _run(
    words: list[str], environment: dict[str, str], options: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    options = {"capture_output": True, "timeout": TIMEOUT_SECONDS} | options
    done: subprocess.CompletedProcess[str]
    done = subprocess.run(words, env=environment, text=True, errors="surrogateescape", **options)
    return done
