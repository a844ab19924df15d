"""`pythonaudit stats`: how many events of which name, category, source and process; and what was lost."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pythonaudit.cli import access, filters, tables, times
from pythonaudit.cli.describe import process_label, process_name
from pythonaudit.cli.render import Output, Screen, amount, say
from pythonaudit.journal.process import Process
from pythonaudit.query.tally import KEYS, Label, Stats, Tally, take_stats, take_tallies

_EPILOG = """\
Events are recorded one by one, or only counted (PYTHONAUDIT_EVENTS). Of counted ones there is a number for
the whole life of their process, and nothing else: --path, --package, --context, --text and --where leave
them out.
"""

Key = TypeVar("Key", str, Label)

Row = tuple[str | int, ...]

_TABLE_ROWS = 20
_BAR = 24  # columns
_COUNTS = ("recorded", "counted")
_TALLY_COLUMNS = {"recorded": "number", "counted": "number", "first": "moment", "last": "moment"}
_COLUMNS = {
    **dict.fromkeys(("kind", "event", "template", "category", "source", "process"), "text"),
    "pid": "number",
    "name": "text",
    "run": "text",
    **_TALLY_COLUMNS,
    "time": "moment",
    "reason": "text",
    "count": "number",
    "file": "text",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    help_n = f"the N most frequent of each kind (default: all; table: {_TABLE_ROWS})"
    parser.add_argument("-n", type=filters.count, metavar="N", help=help_n)
    parser.add_argument("--by", choices=tuple(KEYS), metavar="WHAT", help=f"by one thing only: {', '.join(KEYS)}")
    tables.add_format(parser)
    filters.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the counts; always 0."""
    journal = filters.open_journal(args.dir, args)
    selection = filters.select(journal, args, time.time_ns())
    with selection.connect(journal) as connection:
        asked = (connection, selection.query(), journal.survey(), selection.wanted, selection.where is None)
        if args.by:
            tallies = take_tallies(args.by, *asked)
            _write_by(args, tallies)
            found = bool(tallies)
            access.shown(sum(tally.total for tally in tallies.values()))
        else:
            stats = take_stats(*asked)
            stats.readers = [
                one for one in stats.trails if selection.wanted.leaves_out(one.process.way, one.events)
            ]
            _write(args, stats)
            found = bool(stats.labels)
            access.shown(stats.total().total)
    for problem in journal.archived.problems() if journal.archived else ():
        say(problem)
    if not found:
        say(f"no event matches in {args.dir}")
    return 0


def _write(args: argparse.Namespace, stats: Stats) -> None:
    if args.format == "table":
        output = Output()
        _write_table(output, stats, args.n)
        output.flush()
        return
    rows = _rows(stats, args.n)
    if args.format != "jsonl":
        rows = ({"kind": "loss"} | row for row in rows)
    tables.write_rows(_COLUMNS, rows, args.format)


def _write_table(output: Output, stats: Stats, most: int | None) -> None:
    screen = Screen(output.is_terminal)
    most = _TABLE_ROWS if most is None else most
    output.write(screen.paint(_headline(stats), "bold") + "\n")
    if stats.readers:
        others = amount(len(stats.readers), "process has", "processes have")
        output.write(f"Besides, {others} only read it: --event {access.READ}\n")
    names: list[Row] = [
        (label.text, label.category, label.source, tally.recorded, tally.counted)
        for label, tally in _by_frequency(stats.labels)
    ]
    sections = (
        (("event", "category", "source", *_COUNTS), names, 1),
        (("category", *_COUNTS), _count_rows(stats.by(lambda label: label.category)), 1),
        (("source", *_COUNTS), _count_rows(stats.by(lambda label: label.source)), 1),
        (("process", "run", "begun", *_COUNTS, "lost"), _process_rows(stats), 2),
    )
    for columns, rows, give_way in sections:
        if rows:
            output.write("\n" + screen.table(columns, rows[:most], give_way))
        if len(rows) > most:
            output.write(screen.paint(f"and {len(rows) - most:,} more; -n N shows N", "dim") + "\n")
    if stats.losses:
        columns = ("process or file", "lost", "event", "time", "count")
        output.write("\n" + screen.table(columns, _loss_rows(stats)))
    else:
        output.write("\nNothing was lost.\n")


def _write_by(args: argparse.Namespace, tallies: Mapping[str | None, Tally]) -> None:
    """Counts by one thing: for people with bars, where there is a terminal."""
    rows = sorted(tallies.items(), key=lambda item: (-item[1].total, item[0] or ""))
    if args.by == "hour":
        rows.sort(key=lambda item: item[0] or "")
    if args.format != "table":
        columns = {args.by: "text"} | _TALLY_COLUMNS
        tables.write_rows(columns, ({args.by: key} | _said(tally) for key, tally in rows[: args.n]), args.format)
        return
    output = Output()
    screen = Screen(output.is_terminal)
    most = _TABLE_ROWS if args.n is None and args.by != "hour" else args.n
    largest = max((tally.total for tally in tallies.values()), default=0)
    cells = [
        (key or "-", tally.recorded, tally.counted, screen.bar(tally.total, largest, _BAR))
        for key, tally in rows[:most]
    ]
    output.write(screen.table((args.by, *_COUNTS, ""), cells) if cells else "")
    if most is not None and len(rows) > most:
        output.write(screen.paint(f"and {len(rows) - most:,} more; -n N shows N", "dim") + "\n")
    output.flush()


def _headline(stats: Stats) -> str:
    total = stats.total()
    text = f"{amount(total.recorded, 'event')} recorded, {total.counted:,} only counted,"
    text += f" in {amount(len(stats.processes), 'process', 'processes')}"
    if total.first_ns is not None and total.last_ns is not None:
        first, last = (_second(ns) for ns in (total.first_ns, total.last_ns))
        text += f"\n{first} to {last} UTC"
    return text


def _count_rows(tallies: Mapping[str, Tally]) -> list[Row]:
    return [(name, tally.recorded, tally.counted) for name, tally in _by_frequency(tallies)]


def _process_rows(stats: Stats) -> list[Row]:
    trails = {trail.process.id: trail for trail in stats.trails}
    rows: list[Row] = []
    for key, tally in _by_frequency(stats.processes):
        if key in trails:  # else it began after the events were read
            process, begun = trails[key].process, _second(trails[key].begin_ns)
            counts = (tally.recorded, tally.counted, stats.lost(key))
            rows.append((process_label(process), process.run or "", begun, *counts))
    return rows


def _loss_rows(stats: Stats) -> list[Row]:
    names = {trail.process.id: process_label(trail.process) for trail in stats.trails}
    rows: list[Row] = []
    for loss in stats.losses:
        who = str(loss.file) if loss.file else names.get(loss.process or "", "")
        # What was refused as a whole has no number of bytes.
        rows.append((who, loss.reason, loss.event or "", _second(loss.time_ns), loss.count or ""))
    return rows


def _rows(stats: Stats, most: int | None) -> Iterator[dict[str, Any]]:
    """Every row for programs: `kind` says of what it is; a loss has none."""
    for label, tally in _by_frequency(stats.labels)[:most]:
        text = {"template" if label.is_template else "event": label.text}
        yield {"kind": "event", **text, "category": label.category, "source": label.source} | _said(tally)
    for category, tally in _by_frequency(stats.by(lambda label: label.category))[:most]:
        yield {"kind": "category", "category": category} | _said(tally)
    for source, tally in _by_frequency(stats.by(lambda label: label.source))[:most]:
        yield {"kind": "source", "source": source} | _said(tally)
    known = {trail.process.id: trail.process for trail in stats.trails}
    for key, tally in _by_frequency(stats.processes)[:most]:
        yield {"kind": "process", "process": key} | _said_of(known.get(key)) | _said(tally)
    if stats.readers:
        yield {"kind": "reading", "event": access.READ, "count": len(stats.readers)}
    for loss in stats.losses:
        yield json.loads(loss.to_json())


def _said(tally: Tally) -> dict[str, Any]:
    said: dict[str, Any] = {"recorded": tally.recorded, "counted": tally.counted}
    if tally.first_ns is not None and tally.last_ns is not None:
        said["first"] = times.format_moment(tally.first_ns)
        said["last"] = times.format_moment(tally.last_ns)
    return said


def _said_of(process: Process | None) -> dict[str, Any]:
    if process is None:  # begun after the events were read
        return {}
    said = {"pid": process.pid, "name": process_name(process.argv, process.exe), "run": process.run}
    return {key: value for key, value in said.items() if value is not None}


def _by_frequency(tallies: Mapping[Key, Tally]) -> list[tuple[Key, Tally]]:
    return sorted(tallies.items(), key=lambda item: (-item[1].total, item[0]))


def _second(time_ns: int) -> str:
    return f"{times.format_date(time_ns)} {times.format_clock(time_ns)[:8]}"
