"""Hand-made rows of processes and of the events that start them, and the forest that comes of them as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pythonaudit.query.attempts import ProcessRow, SpawnRow
from pythonaudit.query.commands import Command, File, Look
from pythonaudit.query.forest import Forest
from pythonaudit.query.ledger import build_ledger

MS = 1_000_000
#: When the boot of the rows was, nanoseconds since 1970.
BOOT_NS = 1_795_000_000_000_000_000


@dataclass
class Rows:
    """What a journal would say. Times are milliseconds since the boot; a process records 5 ms after its start."""

    processes: list[ProcessRow] = field(default_factory=list)
    spawns: list[SpawnRow] = field(default_factory=list)
    files: Mapping[str, File | None] = field(default_factory=dict)

    def process(self, id: str, pid: int, ppid: int, at: int, *argv: str, until: int = 100_000, **more: Any) -> str:
        """A recorded process that was started `at` a time."""
        values: dict[str, Any] = {
            "boot": "b" * 32,
            "pid_start": at // 10,
            "pid_namespace": 1,
            "exe": "/usr/bin/python3",
            "begin_ns": BOOT_NS + (at + 5) * MS,
            "end_ns": BOOT_NS + until * MS,
            "ended": True,
        }
        self.processes.append(ProcessRow(id, pid=pid, ppid=ppid, argv=argv, **values | more))
        return id

    def fork(self, id: str, parent: str, pid: int, ppid: int, at: int, *argv: str, **more: Any) -> str:
        """A recorded process that was forked."""
        return self.process(id, pid, ppid, at, *argv, parent=parent, way="fork", **more)

    def spawn(self, process: str, at: int, event: str, *words: str, slot: int = 1, **more: Any) -> None:
        """An event; its number in its thread is the time."""
        row = SpawnRow(
            f"{process}/{slot}/{at}", process, slot, at, BOOT_NS + at * MS, event, Command(words, **more)
        )
        self.spawns.append(row)

    def popen(self, process: str, at: int, *words: str, **more: Any) -> None:
        """What subprocess raises."""
        self.spawn(process, at, "subprocess.Popen", *words, **more)

    def look(self, program: str, cwd: str | None) -> File | None:
        """The files that there are."""
        return self.files.get(program)

    def forest(self) -> Forest:
        """What comes of it."""

        def look_for(process: ProcessRow) -> Look:
            return self.look

        return build_ledger(self.processes, self.spawns, look_for)

    def outline(self) -> list[str]:
        """The forest, a line each: indent, process or command, coverage, how it was linked, through what."""
        return outline(self.forest())


def outline(forest: Forest) -> list[str]:
    """A forest, a line each."""
    return list(_outline(forest))


def _outline(forest: Forest) -> Iterable[str]:
    for node in forest.walk():
        words = node.attempt.command.words if node.attempt else ()
        name = node.process.id if node.process else " ".join(words) or "-"
        more = [word for word in (node.link, node.via and f"via {node.via}") if word]
        said = node.coverage if node.process is None else ""
        yield " ".join(filter(None, ["  " * node.depth + name, said and f"[{said}]", *more]))
