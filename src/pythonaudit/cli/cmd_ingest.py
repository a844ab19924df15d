"""`pythonaudit ingest`: moves closed segments of the journal into the archive."""

from __future__ import annotations

import argparse

from pythonaudit.archive import retention
from pythonaudit.archive.compact import compact
from pythonaudit.archive.ingest import Report, ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.sealer import Sealer
from pythonaudit.cli import filters, settings
from pythonaudit.cli.render import Output, amount, json_line, neutralise, progress, say
from pythonaudit.cli.times import format_moment
from pythonaudit.journal.reader import Journal

_EPILOG = """\
The journal is what processes write; the archive is what any engine reads (docs/format/archive.md), smaller and
sorted. All commands see both. What is still being written stays in the journal. Run it as often as you like:
what was moved once is not moved again. Where there are keys ('pythonaudit keys init'), it is sealed. Where the
configuration has a section [retention], what need not be kept goes (docs/guide/retention.md).

examples:
  pythonaudit ingest
  duckdb -c "SELECT event, count(*) FROM '/var/log/pythonaudit/archive/events/**/*.parquet' GROUP BY event"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    settings.add_argument(parser)
    parser.add_argument("--compact", action="store_true", help="put small parts together as well")
    parser.add_argument("--format", choices=("table", "jsonl"), default="table", help="default: table")


def run(args: argparse.Namespace) -> int:
    """Moves; 1 if something was damaged."""
    config = settings.load(args)
    archive = Archive(args.dir)
    journal = Journal(args.dir, filters.further_directories())
    sealer = Sealer(settings.open_writer(args), if_any=True)
    with progress("archiving") as tell:
        report = ingest(journal, archive, tell, sealer=sealer)
    kept = None
    if "retention" in config.given:
        kept = retention.apply(archive, journal, config.retention, config.hold, sealer)
    compacted = compact(archive, sealer=sealer, holds=config.hold) if args.compact else 0
    damage = journal.damage()
    for one in damage:
        extent = f"{one.length} bytes unreadable: " if one.length else ""
        say(f"{one.path}: {extent}{one.reason}")
    for path, place in report.released.damaged.items():
        say(f"{path.name}: damaged, kept as {place}")
    for reason in report.released.unpublished.values():
        say(f"segments of running processes are not used again: {reason}")
    for problem in archive.problems():
        say(problem)
    output = Output()
    if args.format == "jsonl":
        said = _said(report) | {"compacted": compacted} | (_removed(kept) if kept else {})
        output.write(json_line(said, output.is_terminal))
    else:
        output.write(_sentence(report, compacted) + "\n")
        if kept:
            output.write(_removal(kept) + "\n")
    output.flush()
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
    moved = f"{amount(report.events, 'event')} of {amount(report.segments, 'segment')} archived"
    if report.events:
        moved += f", {report.bytes / report.events:.1f} bytes an event"
    more = [f"{amount(report.open, 'segment')} still open"] if report.open else []
    more += [f"{amount(compacted, 'batch', 'batches')} put together"] if compacted else []
    return "; ".join([moved, *more])


def _removed(kept: retention.Report) -> dict[str, int]:
    return {
        "dropped_batches": kept.batches,
        "dropped_events": kept.events,
        "dropped_bytes": kept.bytes,
        "dropped_files": kept.files,
        "held_batches": len(kept.held),
    }


def _removal(kept: retention.Report) -> str:
    """What retention did, in one line."""
    text = "retention: nothing removed"
    if kept.batches or kept.files:
        what = (
            [f"{amount(kept.events, 'event')} in {amount(kept.batches, 'batch', 'batches')}"]
            if kept.batches
            else []
        )
        what += [f"{amount(kept.files, 'file')} that could not be archived"] if kept.files else []
        text = f"retention: removed {' and '.join(what)}"
        if kept.begin_ns is not None and kept.end_ns is not None:
            text += f", {format_moment(kept.begin_ns, 1)[:19]}Z to {format_moment(kept.end_ns, 1)[:19]}Z"
    if kept.held:
        names = ", ".join(sorted(set().union(*kept.held.values())))
        text += f"; {amount(len(kept.held), 'batch', 'batches')} held by {neutralise(names)}"
    if kept.over:
        text += f", and so the archive is {kept.over:,} bytes too large"
    return text
