"""Counting the instructions of a process, with whatever can do that here: perf, else valgrind.

perf needs a processor that counts and a kernel that lets users look, which virtual machines and containers
often do not have; valgrind is fifty times slower, and always right. Only what runs outside of the kernel counts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pythonaudit.errors import PythonAuditError

Words = Sequence[str | Path]

_TIMEOUT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Counter:
    """A program that counts.

    Attributes:
        name: of the program.
        words: of its command line, before the command to be counted.
        pattern: finds the number in what it says on stderr.
    """

    name: str
    words: tuple[str, ...]
    pattern: str

    def count(self, command: Words, environment: Mapping[str, str]) -> int:
        """Instructions of one run of a command, without its children.

        Raises:
            PythonAuditError: it could not be counted.
        """
        done = subprocess.run(
            [*self.words, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
        )
        found = re.search(self.pattern, done.stderr)
        if done.returncode or not found:
            raise PythonAuditError(f"{self.name} could not count {command[0]}: {done.stderr.strip()[-200:]}")
        return int(found[1])


_PERF = Counter("perf", ("perf", "stat", "--no-inherit", "-x,", "-e", "instructions:u", "--"), r"(?m)^(\d+),")
_VALGRIND = Counter(
    "valgrind",
    ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"),
    r"Collected : (\d+)",
)


def find_counter() -> Counter | None:
    """The first that works here; None: there is none."""
    for counter in (_PERF, _VALGRIND):
        if shutil.which(counter.name):
            try:
                counter.count(["true"], os.environ)
            except (OSError, subprocess.SubprocessError, PythonAuditError):
                continue
            return counter
    return None
