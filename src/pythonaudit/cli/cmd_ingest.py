"""`pythonaudit ingest`: moves closed segments of the journal into the archive."""

from __future__ import annotations

import argparse
import json
import sys

from pythonaudit.archive.compact import compact
from pythonaudit.archive.ingest import Report, ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.sealer import Sealer
from pythonaudit.cli import filters
from pythonaudit.cli.progress import Progress
from pythonaudit.cli.render import neutralise
from pythonaudit.integrity.log import Log
from pythonaudit.integrity.writer import Writer
from pythonaudit.journal.reader import Journal

_EPILOG = """\
The journal is what processes write; the archive is what any engine reads (docs/format/archive.md), smaller and
sorted. All commands see both. What is still being written stays in the journal. Run it as often as you like:
what was moved once is not moved again. Where there are keys ('pythonaudit keys init'), it is sealed.

examples:
  pythonaudit ingest
  duckdb -c "SELECT event, count(*) FROM '/var/log/pythonaudit/archive/events/**/*.parquet' GROUP BY event"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    parser.add_argument("--compact", action="store_true", help="put small parts together as well")
    parser.add_argument("--format", choices=("table", "jsonl"), default="table", help="default: table")


def run(args: argparse.Namespace) -> int:
    """Moves; 1 if something was damaged."""
    archive = Archive(args.dir)
    journal = Journal(args.dir, filters.further_directories())
    sealer = Sealer(Writer(args.dir)) if Log(args.dir).exists else None
    with Progress("archiving") as progress:
        report = ingest(journal, archive, progress.show, sealer=sealer)
    compacted = compact(archive, sealer=sealer) if args.compact else 0
    damage = journal.damage()
    for one in damage:
        extent = f"{one.length} bytes unreadable: " if one.length else ""
        _say(f"{one.path}: {extent}{one.reason}")
    for path, kept in report.released.damaged.items():
        _say(f"{path.name}: damaged, kept as {kept}")
    for reason in report.released.unpublished.values():
        _say(f"segments of running processes are not used again: {reason}")
    for problem in archive.problems():
        _say(problem)
    if args.format == "jsonl":
        print(json.dumps(_said(report) | {"compacted": compacted}))
    else:
        print(_sentence(report, compacted))
    return 1 if damage or archive.problems() else 0


def _said(report: Report) -> dict[str, int]:
    return {
        "segments": report.segments,
        "events": report.events,
        "batches": report.batches,
        "bytes": report.bytes,
        "open": report.open,
        "damaged": len(report.released.damaged),
    }


def _sentence(report: Report, compacted: int) -> str:
    moved = f"{report.events:,} events of {report.segments:,} segments archived"
    if report.events:
        moved += f", {report.bytes / report.events:.1f} bytes an event"
    more = [f"{report.open:,} segments still open"] if report.open else []
    more += [f"{compacted:,} batches put together"] if compacted else []
    return "; ".join([moved, *more])


def _say(text: str) -> None:
    print(f"pythonaudit: {neutralise(text)}", file=sys.stderr)
