"""Calling `pythonaudit run` as a user does: an installed package, a real process."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import TIMEOUT_SECONDS, Installed

#: What it says at the end.
LINE = re.compile(
    r"pythonaudit: run (?P<label>\S+): (?P<processes>\d+) process(?:es)?, (?P<events>\d+) events?, (?P<losses>.*); "
    r"see: pythonaudit log --dir \S+ --run \S+\n"
)


class Run:
    """Runs it to its end.

    Attributes:
        directory: where it records to.
        python: the environment's interpreter, which can be recorded whatever the wheel is for.
        words: how to call it, up to and without the `--`.
    """

    def __init__(self, installed: Installed, directory: Path) -> None:
        self._installed = installed
        self.directory = directory
        self.python = str(installed.python)
        self.words = [self.python, "-m", "pythonaudit", "run", "--dir", str(directory)]

    def __call__(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs it with these arguments, and options of `subprocess.run`."""
        options.setdefault("env", self._installed.environment())
        options.setdefault("capture_output", True)
        command = [*self.words, *map(str, arguments)]
        done: subprocess.CompletedProcess[str]
        done = subprocess.run(command, text=True, timeout=TIMEOUT_SECONDS, **options)
        return done
