"""The rows that the process tree is made of, and what in them is one attempt to start a process.

An audit event is raised before the act, and one act can raise several: `subprocess.Popen` is followed by
`os.posix_spawn` or (3.14 and later) `_posixsubprocess.fork_exec`, `pty.spawn` by `os.forkpty`, and `os.execvp`
raises `os.exec` for each directory of PATH. `find_attempts` makes one of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from pythonaudit.query.commands import Command

FORKS = frozenset({"os.fork", "os.forkpty"})
EXEC = "os.exec"
#: The events that start a process, or replace its program.
EVENTS = (
    *("_posixsubprocess.fork_exec", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn"),
    *("os.system", "pty.spawn", "subprocess.Popen"),
)
# After which event another one speaks of the same child.
_AGAIN = {
    ("subprocess.Popen", "_posixsubprocess.fork_exec"),
    ("subprocess.Popen", "os.posix_spawn"),
    ("pty.spawn", "os.forkpty"),
    ("os.exec", "os.exec"),
}


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """A recorded process (program image).

    Attributes:
        id: of the process.
        parent: id of the process that forked it, or None.
        boot, pid, ppid, pid_start, pid_namespace: as in the journal's header; "" and 0: unknown.
        way: how recording began: preload, site, fork or command.
        argv: the words after the interpreter's own name.
        exe, cwd, host, run, python, user: attributes, where they are known.
        begin_ns: when its recording began.
        end_ns: when it ended, or its last known event.
        ended: whether it said that it ended in order.
        running: whether it lives now; None: that cannot be told from here.
        events: how many were recorded or counted.
        lost: how many were not.
        unrecorded_children: how many forked children got no journal, as its recorder counted.
    """

    id: str
    parent: str | None = None
    boot: str = ""
    pid: int = 0
    ppid: int = 0
    pid_start: int = 0
    pid_namespace: int = 0
    way: str = "preload"
    argv: tuple[str, ...] = ()
    exe: str | None = None
    cwd: str | None = None
    host: str | None = None
    run: str | None = None
    python: str | None = None
    user: str | None = None
    begin_ns: int = 0
    end_ns: int = 0
    ended: bool = False
    running: bool | None = None
    events: int = 0
    lost: int = 0
    unrecorded_children: int = 0


@dataclass(frozen=True, slots=True)
class SpawnRow:
    """An event that starts a process.

    Attributes:
        id: of the event.
        process: id of the process that raised it.
        slot, number: which thread of it, and the event's number there.
        time_ns: when.
        event: its name, one of `EVENTS`.
        command: what was to be started; with no words: that is not known (a fork).
    """

    id: str
    process: str
    slot: int
    number: int
    time_ns: int
    event: str
    command: Command


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt to start a process.

    Attributes:
        row: the first event of it.
        event: name of the event that says most: the first one.
        command: what was to be started.
        is_fork: whether a child that was recorded would have been forked.
        is_exec: whether no child but the process itself goes on with another program.
    """

    row: SpawnRow
    command: Command
    is_fork: bool
    is_exec: bool

    @property
    def event(self) -> str:
        """The name of its first event."""
        return self.row.event

    @property
    def time_ns(self) -> int:
        """When it was made."""
        return self.row.time_ns


def find_attempts(rows: Iterable[SpawnRow]) -> dict[str, list[Attempt]]:
    """The attempts of each process, by its id, in the order of time."""
    threads: dict[tuple[str, int], list[SpawnRow]] = defaultdict(list)
    for row in rows:
        threads[row.process, row.slot].append(row)
    found: dict[str, list[Attempt]] = defaultdict(list)
    for (process, _), events in threads.items():
        events.sort(key=lambda row: row.number)
        before: SpawnRow | None = None
        for row in events:
            attempts = found[process]
            if before is not None and _is_again(before, row):
                attempts[-1].is_fork |= row.event in FORKS
                if row.event == EXEC:  # the one that worked, if any did, is the last one
                    attempts[-1].row, attempts[-1].command = row, row.command
                    before = row
                else:
                    before = None
                continue
            attempts.append(Attempt(row, row.command, row.event in FORKS, row.event == EXEC))
            before = row
    for attempts in found.values():
        attempts.sort(key=lambda attempt: attempt.time_ns)
    return dict(found)


def _is_again(before: SpawnRow, row: SpawnRow) -> bool:
    if (before.event, row.event) not in _AGAIN:
        return False
    if row.event in FORKS:
        return True
    if row.event == EXEC and before.command.name != row.command.name:
        return False
    return not before.command.words or not row.command.words or before.command.words == row.command.words
