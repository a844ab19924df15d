"""Runs the command line of this tree: in a pipe, on a terminal, or while something goes on."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pythonaudit import cli
from pythonaudit.cli.interpreters import probe, unrecorded

SOURCES = Path(cli.__file__).parents[2]
#: Whether the environment of the tests has the package installed, so that recording can begin in it by itself.
IS_INSTALLED = (_here := probe(Path(sys.executable))) is not None and bool(_here.pth)
COMMAND = (sys.executable, "-m", "pythonaudit")


def environment(**variables: str) -> dict[str, str]:
    """The test's own, unrecorded, with this tree's package, and no wishes about colours or width."""
    wishes = ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "PYTHONUNBUFFERED")
    base = {name: value for name, value in unrecorded(os.environ).items() if name not in wishes}
    return base | {"PYTHONPATH": str(SOURCES), "TERM": "xterm-256color"} | variables


def run(directory: Path, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end, stdout and stderr in pipes."""
    command = [*COMMAND, "--dir", str(directory), *words]
    options.setdefault("env", environment())
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.run(command, stderr=subprocess.PIPE, encoding="utf-8", **options)


def start(directory: Path, *words: str) -> subprocess.Popen[str]:
    """Starts one command, stdout and stderr in pipes."""
    command = [*COMMAND, "--dir", str(directory), *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment(), encoding="utf-8", stdout=pipe, stderr=pipe)


@dataclass(frozen=True)
class Shown:
    """What a command showed on a terminal: everything, with its escape sequences; and its status."""

    text: str
    status: int


def show(directory: Path, *words: str, columns: int = 80, env: Mapping[str, str] | None = None) -> Shown:
    """Runs one command on a terminal of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    command = [*COMMAND, "--dir", str(directory), *words]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=env or environment(), start_new_session=True
    )
    os.close(theirs)
    parts: list[bytes] = []
    with open(ours, "rb", buffering=0) as terminal:
        try:
            while part := terminal.read(1 << 16):
                parts.append(part)
        except OSError:  # the other side has been closed
            pass
    return Shown(b"".join(parts).decode().replace("\r\n", "\n"), process.wait())
