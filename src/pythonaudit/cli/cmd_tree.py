"""`pythonaudit tree`: which process started which, and which of them were recorded (docs/guide/tree.md)."""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pythonaudit.cli import access, filters, tables, times
from pythonaudit.cli.filters import Selection
from pythonaudit.cli.render import Output, amount, say
from pythonaudit.cli.tree_table import command_of, state_of, write_table
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal
from pythonaudit.query.attempts import ProcessRow
from pythonaudit.query.commands import NOT_RECORDED, UNEXPLAINED
from pythonaudit.query.forest import Forest, Node
from pythonaudit.query.ledger import build_ledger
from pythonaudit.query.programs import Programs
from pythonaudit.query.rows import load

_EPILOG = """\
Filters choose processes: by what they are, or by an event that they raised. Shown are these, what they started
(with --since and --until: if it lived then), and dimmed what stands above them.

recorded      there is a journal of it
not-python    what was started is another program
not-recorded  it was Python, and there is nothing of it
unexplained   it may have been, or nothing was started
"""

_COLUMNS = {
    "process": "text",
    "parent_process": "text",
    "depth": "number",
    "coverage": "text",
    "reason": "text",
    "command": "text",
    "via": "text",
    "link": "text",
    "event": "text",
    "start": "text",
    "parent_start": "text",
    "begin": "moment",
    "end": "moment",
    "state": "text",
    "events": "number",
    "lost": "number",
    "pid": "number",
    "ppid": "number",
    "python": "text",
    "exe": "text",
    "argv": "texts",
    "cwd": "text",
    "way": "text",
    "run": "text",
    "host": "text",
    "boot": "text",
    "user": "text",
    "selected": "flag",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    tables.add_format(parser)
    filters.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the tree; always 0."""
    journal = filters.open_journal(args.dir, args)
    selection = filters.select(journal, args, time.time_ns())
    processes, spawns = load(journal, EventFilter(without=selection.wanted.without))
    programs = Programs(os.environ.get("PATH", os.defpath))
    forest = build_ledger(processes, spawns, programs.look_for)
    wanted = selection.wanted
    forest = forest.select(_chooser(journal, selection), wanted.since_ns, wanted.until_ns)
    access.shown(sum(1 for node in forest.walk() if node.process is not None), "processes")
    if args.format == "table":
        output = Output()
        write_table(output, forest)
        output.flush()
    else:
        tables.write_rows(_COLUMNS, _rows(forest), args.format)
    _tell(forest, args.dir)
    return 0


def _chooser(journal: Journal, selection: Selection) -> Callable[[ProcessRow], bool]:
    """Whether a process was asked for. Those that only read what is recorded have to be: by event, id or pid."""
    wanted = selection.wanted
    if not wanted.asks_of_events and selection.where is None:
        return lambda row: wanted.wants_process(row) and not wanted.leaves_out(row.way, row.events)
    raised = {event.process.id for event in selection.events(journal)}
    return lambda row: row.id in raised


def _tell(forest: Forest, directory: Path) -> None:
    """Says on stderr what nobody should miss."""
    if not forest.roots:
        say(f"no process matches in {directory}")
        return
    counts = Counter(node.coverage for node in forest.walk() if node.is_selected)
    missing, unclear = counts[NOT_RECORDED], counts[UNEXPLAINED]
    if missing:
        more = f", {unclear:,} more unexplained" if unclear else ""
        what = amount(missing, "Python process was", "Python processes were")
        say(f"{what} not recorded{more}")


def _rows(forest: Forest) -> Iterator[dict[str, Any]]:
    """Every process for programs."""
    for node in forest.walk():
        process, attempt, above = node.process, node.attempt, node.parent_process
        said: dict[str, Any] = {
            "process": process.id if process else None,
            "parent_process": above.id if above else None,
            "depth": node.depth,
            "coverage": node.coverage,
            "reason": node.reason or None,
            "command": command_of(node) or None,
            "via": node.via or None,
            "link": node.link or None,
            "event": attempt.event if attempt else None,
            "start": attempt.row.id if attempt else None,
            "parent_start": _start_of(node.parent) if node.parent and not node.parent.process else None,
            "begin": times.format_moment(node.time_ns),
        }
        if process is not None:
            said |= {
                "end": times.format_moment(process.end_ns),
                "state": state_of(process),
                "events": process.events,
                "lost": process.lost,
                "pid": process.pid,
                "ppid": process.ppid,
                "python": process.python,
                "exe": process.exe,
                "argv": list(process.argv) or None,
                "cwd": process.cwd,
                "way": process.way,
                "run": process.run,
                "host": process.host,
                "boot": process.boot or None,
                "user": process.user,
            }
        yield said | {"selected": node.is_selected}


def _start_of(node: Node) -> str | None:
    return node.attempt.row.id if node.attempt else None
