"""`pythonaudit export`: what is recorded, in forms for others; for now, evidence."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from pythonaudit.archive.manifest import Archive
from pythonaudit.cli import filters
from pythonaudit.cli.render import amount, neutralise, progress, say
from pythonaudit.errors import StoreError
from pythonaudit.export.evidence import Report, write_evidence

_EPILOG = """\
A bundle of evidence is one zip file: events, what proves that they were sealed ('pythonaudit keys init') and not
changed since, and verify.py, which checks it all without pythonaudit. Events of processes that still run, or that were
not archived ('pythonaudit ingest') yet, cannot be in it, and are counted.

examples:
  pythonaudit export --evidence case-17.zip --run last --path '/etc/*'
  unzip case-17.zip && python3 evidence/verify.py --key web-1.vkey
"""
_FILTERS = (
    *("event", "category", "source", "since", "until", "run", "process", "pid", "path", "package", "context"),
    *("text", "where"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--evidence", type=Path, required=True, metavar="FILE.zip", help="write a bundle of evidence"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE.zip if it is there")
    filters.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the bundle; 1 if events that match are in the archive, but not as they were sealed."""
    path: Path = args.evidence
    if path.exists() and not args.force:
        raise StoreError(f"{path}: is there already", hint="choose another name, or replace it with --force")
    if not path.parent.is_dir():
        raise StoreError(f"{path.parent}: no such directory")
    journal = filters.open_journal(args.dir)
    selection = filters.select(journal, args, time.time_ns())
    archive = Archive(args.dir)
    with progress("proving") as tell:
        report = write_evidence(args.dir, archive, selection.events(journal), path, _chosen_by(args), tell)
    for problem in archive.problems():
        say(problem)
    _say_left_out(report)
    proven = f"{amount(report.events, 'event')} of {amount(report.segments, 'segment')}"
    by = f"proven by {amount(report.records, 'record')}"
    print(f"{proven}, {by}: {neutralise(str(path))}, {report.bytes:,} bytes, verified")
    return 1 if report.differing else 0


def _say_left_out(report: Report) -> None:
    if report.open:
        hint = "'pythonaudit ingest' archives and seals them when their processes have ended"
        say(f"left out, being not sealed or not archived: {report.open:,}; {hint}")
    if report.earlier:
        say(f"left out, being archived before sealing began: {report.earlier:,}")
    if report.differing:
        hint = "'pythonaudit verify' says what is wrong"
        say(f"left out, being not as they were sealed: {report.differing:,}; {hint}")


def _chosen_by(args: argparse.Namespace) -> dict[str, Any]:
    """The filters that were given, as words."""
    given = {name: getattr(args, name) for name in _FILTERS}
    if args.context:
        given["context"] = [f"{key}={glob}" for key, glob in args.context]
    return {name: value for name, value in given.items() if value is not None}
