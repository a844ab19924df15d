"""`pythonaudit stats`: how many events of which name, category, source and process; and what was lost."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pythonaudit.cli import filters, times
from pythonaudit.cli.describe import process_label, process_name
from pythonaudit.cli.render import Screen, csv_cell, neutralise, neutralise_json
from pythonaudit.cli.tally import Stats, Tally, take_stats
from pythonaudit.journal.process import Process

_EPILOG = """\
Events are recorded one by one, or only counted (PYTHONAUDIT_EVENTS). Of counted ones there is a number for
the whole life of their process, and no arguments: --path, --text and --where leave them out.
"""

Key = TypeVar("Key", bound="str | tuple[Any, ...]")
Cells = TypeVar("Cells", bound="tuple[str, ...]")

_TABLE_ROWS = 20
_CSV_COLUMNS = (
    *("kind", "event", "template", "category", "source", "process", "pid", "name", "run", "recorded"),
    *("counted", "first", "last", "time", "reason", "count"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    help_n = f"the N most frequent of each kind (default: all; table: {_TABLE_ROWS})"
    parser.add_argument("-n", type=filters.count, metavar="N", help=help_n)
    parser.add_argument("--format", choices=tuple(_PRINTERS), default="table", help="default: table")
    filters.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the counts; always 0."""
    journal = filters.open_journal(args.dir)
    stats = take_stats(journal, filters.select(journal, args, time.time_ns()))
    _PRINTERS[args.format](stats, args.n)
    if not stats.labels:
        print(f"pythonaudit: no event matches in {neutralise(str(args.dir))}", file=sys.stderr)
    return 0


def _print_table(stats: Stats, most: int | None) -> None:
    screen = Screen()
    most = _TABLE_ROWS if most is None else most
    total = stats.total()
    print(screen.paint(_headline(stats, total), "bold"))
    if not stats.trails:
        return
    names = {(label.text, label.category, label.source): t for label, t in stats.labels.items()}
    print()
    _print_tallies(screen, ("event", "category", "source"), names, most)
    categories = {(name,): tally for name, tally in stats.by(lambda label: label.category).items()}
    print()
    _print_tallies(screen, ("category",), categories, most)
    sources = {(name,): tally for name, tally in stats.by(lambda label: label.source).items()}
    print()
    _print_tallies(screen, ("source",), sources, most)
    print()
    _print_processes(screen, stats, most)
    print()
    _print_losses(screen, stats)


def _headline(stats: Stats, total: Tally) -> str:
    text = f"{_number(total.recorded, 'event')} recorded, {total.counted:,} only counted,"
    text += f" in {_number(len(stats.processes), 'process', 'processes')}"
    if total.first_ns is not None and total.last_ns is not None:
        first, last = (times.format_moment(ns, 3) for ns in (total.first_ns, total.last_ns))
        text += f", {first} to {last}"
    return text


def _print_tallies(screen: Screen, columns: Sequence[str], tallies: Mapping[Cells, Tally], most: int) -> None:
    rows: list[tuple[str | int, ...]] = [
        (*key, tally.recorded, tally.counted) for key, tally in _by_frequency(tallies)
    ]
    screen.table((*columns, "recorded", "counted"), rows[:most])
    _print_more(screen, len(rows) - most)


def _print_processes(screen: Screen, stats: Stats, most: int) -> None:
    names = {trail.process.id: process_label(trail.process) for trail in stats.trails}
    runs = {trail.process.id: trail.process.run or "" for trail in stats.trails}
    begun = {trail.process.id: times.format_moment(trail.begin_ns, 3) for trail in stats.trails}
    rows = [
        (names[key], runs[key], begun[key], tally.recorded, tally.counted, stats.lost(key))
        for key, tally in _by_frequency(stats.processes)
        if key in names
    ]
    screen.table(("process", "run", "begun", "recorded", "counted", "lost"), rows[:most])
    _print_more(screen, len(rows) - most)


def _print_losses(screen: Screen, stats: Stats) -> None:
    if not stats.losses:
        print("Nothing was lost.")
        return
    names = {trail.process.id: process_label(trail.process) for trail in stats.trails}
    rows = [
        (
            names.get(loss.process or "", ""),
            loss.reason,
            loss.event or "",
            times.format_moment(loss.time_ns, 3),
            loss.count,
        )
        for loss in stats.losses
    ]
    screen.table(("process", "lost", "event", "time", "count"), rows)


def _print_more(screen: Screen, count: int) -> None:
    if count > 0:
        print(screen.paint(f"and {count:,} more; -n N shows N", "dim"))


def _print_jsonl(stats: Stats, most: int | None) -> None:
    harmless = sys.stdout.isatty()
    for row in _rows(stats, most):
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
        sys.stdout.buffer.write((neutralise_json(line) if harmless else line) + b"\n")


def _print_csv(stats: Stats, most: int | None) -> None:
    harmless = sys.stdout.isatty()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for row in _rows(stats, most):
        cells = [csv_cell(row.get(column, "loss" if column == "kind" else None)) for column in _CSV_COLUMNS]
        writer.writerow(map(neutralise, cells) if harmless else cells)


_PRINTERS: Mapping[str, Callable[[Stats, int | None], None]] = {
    "table": _print_table,
    "jsonl": _print_jsonl,
    "csv": _print_csv,
}


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


def _number(count: int, one: str, more: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"
