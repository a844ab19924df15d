"""An independent witness of processes: strace, which sees each clone and each execve, whoever makes it."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_LINE = re.compile(r"(\d+) +(.*)")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_CLONES = ("clone", "clone3", "fork", "vfork")


@dataclass
class Witness:
    """What strace wrote.

    Attributes:
        parents: of each process that was created, by pid.
        programs: the paths that a process executed, successfully and in order.
    """

    parents: dict[int, int] = field(default_factory=dict)
    programs: dict[int, list[str]] = field(default_factory=dict)

    def children(self, pid: int) -> list[int]:
        """The processes that a process created."""
        return [child for child, parent in self.parents.items() if parent == pid]

    def ancestors(self, pid: int) -> list[int]:
        """From its parent up."""
        found = []
        while pid in self.parents:
            pid = self.parents[pid]
            found.append(pid)
        return found

    def is_python(self, pid: int) -> bool:
        """Whether a process was a Python at any time."""
        while pid in self.parents and not self.programs.get(pid):
            pid = self.parents[pid]
        return any(Path(program).name.startswith("python") for program in self.programs.get(pid, ()))


def strace(log: Path) -> list[str]:
    """How to have a command witnessed; skips the test where there is no strace."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("no strace here")
    return [program, "-f", "-qq", "-e", "signal=none", "-e", "trace=process", "-s", "0", "-o", str(log), "--"]


def read_witness(log: Path) -> Witness:
    """What a log of strace says."""
    witness = Witness()
    begun: dict[int, str] = {}
    leaders: dict[int, int] = {}  # of threads
    for line in log.read_text().splitlines():
        match = _LINE.match(line)
        assert match, line
        pid, text = int(match[1]), match[2]
        if text.endswith("<unfinished ...>"):
            begun[pid] = text.removesuffix("<unfinished ...>")
            continue
        resumed = _RESUMED.match(text)
        if resumed:
            text = begun.pop(pid) + resumed[2]
        name = text.partition("(")[0]
        result = re.search(r"= (-?\d+)", text.rpartition(")")[2])
        if result is None:
            continue
        if name in _CLONES and int(result[1]) > 0:
            made = leaders if "CLONE_THREAD" in text else witness.parents
            made[int(result[1])] = leaders.get(pid, pid)
        elif name == "execve" and int(result[1]) == 0:
            path = re.search(r'execve\("([^"]*)"', text)
            assert path, text
            witness.programs.setdefault(pid, []).append(path[1])
    return witness
