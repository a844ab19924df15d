"""An independent witness of processes: strace, which sees each clone and each execve, whoever makes it."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_LINE = re.compile(r"(\d+) +(.*)")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
_CLONES = ("clone", "clone3", "fork", "vfork")

#: A line of `tree --format jsonl`.
Row = dict[str, Any]


@dataclass
class Witness:
    """What strace wrote.

    Attributes:
        parents: of each process that was created, by pid.
        programs: the paths that a process executed, successfully and in order.
        opened: the paths of files and directories that it tried to open, if this was asked for.
    """

    parents: dict[int, int] = field(default_factory=dict)
    programs: dict[int, list[str]] = field(default_factory=dict)
    opened: dict[int, set[str]] = field(default_factory=dict)

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
    if shutil.which("strace") is None:
        pytest.skip("no strace here")
    return strace_words(log, "process")


def strace_words(log: Path, *calls: str) -> list[str]:
    """How to have these system calls of a command written down."""
    trace = ["-e", "signal=none", "-e", f"trace={','.join(calls)}"]
    return ["strace", "-f", "-qq", *trace, "-s", "0", "-o", str(log), "--"]


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
        if name == "openat":
            path = _PATH.search(text)
            assert path, text
            witness.opened.setdefault(leaders.get(pid, pid), set()).add(_unescape(path[1]))
        result = re.search(r"= (-?\d+)", text.rpartition(")")[2])
        if result is None:
            continue
        if name in _CLONES and int(result[1]) > 0:
            made = leaders if "CLONE_THREAD" in text else witness.parents
            made[int(result[1])] = leaders.get(pid, pid)
        elif name == "execve" and int(result[1]) == 0:
            path = _PATH.search(text)
            assert path, text
            witness.programs.setdefault(pid, []).append(path[1])
    return witness


def _unescape(text: str) -> str:
    """A path as strace prints it: escapes of C."""
    return text.encode().decode("unicode_escape").encode("latin-1").decode()


def assert_as_witnessed(rows: list[Row], witness: Witness) -> None:
    """Parents, children and words agree with what the kernel did, where no Python went unrecorded.

    What failed to become another program, or was forked and raised nothing, is a Python to strace.
    """
    pids = {row["process"]: row["pid"] for row in rows if "process" in row}
    recorded = set(pids.values())
    for row in rows:
        if row.get("link") == "exec" or "process" not in row:
            continue
        above = [pid for pid in witness.ancestors(row["pid"]) if pid in recorded]
        assert pids.get(row.get("parent_process")) == (above[0] if above else None), row
    for pid in recorded:
        children = witness.children(pid)
        mine = [
            row
            for row in rows
            if pids.get(row.get("parent_process")) == pid
            and "parent_start" not in row
            and row.get("link") != "exec"
        ]
        assert len(mine) == len(children), (pid, mine, children)
        missing = [child for child in children if child not in recorded]
        words = sorted("unexplained" if witness.is_python(child) else "not-python" for child in missing)
        assert words == sorted(row["coverage"] for row in mine if row["coverage"] != "recorded")
