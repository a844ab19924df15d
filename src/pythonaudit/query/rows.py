"""The rows of the process tree, from a journal: the only part of it that reads.

processes, spawns = load(journal, EventFilter(without=...))
forest = build_ledger(processes, spawns, Programs(os.environ["PATH"]).look_for)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pythonaudit.journal import layout
from pythonaudit.journal.decode import Event
from pythonaudit.journal.fields import text_of
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal
from pythonaudit.journal.survey import Trail
from pythonaudit.query.attempts import EVENTS, ProcessRow, SpawnRow
from pythonaudit.query.commands import Command

_UNRECORDED_CHILD = "unrecorded-child"


def load(journal: Journal, wanted: EventFilter) -> tuple[list[ProcessRow], list[SpawnRow]]:
    """Processes, and the events that start processes.

    Args:
        journal: where they are recorded.
        wanted: which processes; its names of events are not looked at.

    Raises:
        StoreError: there is no journal, or it may not be read.
    """
    # Events first: the children of those that are read have begun when processes are.
    spawns = [_spawn_row(event) for event in journal.events(replace(wanted, names=EVENTS))]
    trails = [trail for trail in journal.processes() if wanted.wants_process(trail.process)]
    return [_process_row(trail) for trail in trails], spawns


def _process_row(trail: Trail) -> ProcessRow:
    process = trail.process
    return ProcessRow(
        id=process.id,
        parent=process.parent,
        boot=process.boot,
        pid=process.pid,
        ppid=process.ppid,
        pid_start=process.pid_start,
        pid_namespace=process.pid_namespace,
        way=process.way,
        argv=tuple(process.argv),
        exe=process.exe,
        cwd=process.cwd,
        host=process.host,
        run=process.run,
        python=process.python,
        user=process.user or str(process.uid),
        begin_ns=trail.begin_ns,
        end_ns=trail.end_ns,
        ended=trail.ended,
        running=False if trail.ended else process.is_running,
        events=trail.events + trail.counted,
        lost=sum(count for reason, count in trail.losses.items() if reason in layout.EVENT_LOSSES),
        unrecorded_children=trail.losses[_UNRECORDED_CHILD],
    )


def _spawn_row(event: Event) -> SpawnRow:
    thread = event.thread
    command = _command(event.event, event.values, event.process.cwd)
    return SpawnRow(event.id, event.process.id, thread.slot, event.number, event.time_ns, event.event, command)


def _command(event: str, values: Sequence[Any], cwd: str | None) -> Command:
    """What an event says is to be started. Applications can raise it with arguments that make no sense."""
    values = [*values, *[None] * 4]
    if event == "subprocess.Popen":
        return Command(_words(values[1]), text_of(values[0]), text_of(values[2]) or cwd)
    if event in ("os.exec", "os.posix_spawn"):
        return Command(_words(values[1]), text_of(values[0]), cwd)
    if event == "os.spawn":
        return Command(_words(values[2]), text_of(values[1]), cwd)
    if event == "_posixsubprocess.fork_exec":
        tried = _words(values[0])
        return Command(_words(values[1]), tried[0] if len(tried) == 1 else None, cwd)
    if event == "os.system":
        text = text_of(values[0])
        return Command(("sh", "-c", text) if text is not None else ("sh",), None, cwd)
    return Command(_words(values[0]), None, cwd)  # pty.spawn; forks have none


def _words(value: Any) -> tuple[str, ...]:
    """A command line; words that are not known are empty."""
    if isinstance(value, list):
        return tuple(text_of(word) or "" for word in value if not (isinstance(word, dict) and "$more" in word))
    text = text_of(value)
    return (text,) if text is not None else ()
