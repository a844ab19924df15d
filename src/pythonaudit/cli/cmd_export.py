"""`pythonaudit export`: what is recorded, for others: events to a logging system, or evidence in a file."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from pythonaudit.archive.manifest import Archive
from pythonaudit.cli import filters, settings
from pythonaudit.cli.render import amount, neutralise, progress, say
from pythonaudit.errors import StoreError, UsageError

_EPILOG = """\
With --to, events go to a logging system: each at least once, in order, with its id; what the other side has acknowledged
is noted in DIR/export, and not sent again. TARGET is an address, or the name of an export in the configuration, which
an agent ships to all the time (docs/guide/shipping.md has all of them and their options).

With --evidence, a bundle of evidence is written, one zip file: events, what proves that they were sealed ('pythonaudit
keys init') and not changed since, and verify.py, which checks it all without pythonaudit. Events of processes that
still run, or that were not archived ('pythonaudit ingest') yet, cannot be in it, and are counted.

examples:
  pythonaudit export --to - --format ecs --category network
  pythonaudit export --to otlp+http://127.0.0.1:4318 --follow
  pythonaudit export --evidence case-17.zip --run last --path '/etc/*'
  unzip case-17.zip && python3 evidence/verify.py --key web-1.vkey
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--to", type=filters.plain, metavar="TARGET", help="ship events to an address, or - for stdout"
    )
    what.add_argument("--evidence", type=Path, metavar="FILE.zip", help="write a bundle of evidence")
    shipping = parser.add_argument_group("shipping")
    shipping.add_argument("--follow", "-f", action="store_true", help="go on with new events as they come")
    shipping.add_argument("--format", metavar="FORMAT", help="of targets that are files: jsonl (default), ecs, …")
    shipping.add_argument("--again", action="store_true", help="also what the target has acknowledged before")
    settings.add_argument(shipping)
    parser.add_argument("--force", action="store_true", help="replace FILE.zip if it is there")
    filters.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Ships, or writes the bundle; 1 if events that match are in the archive, but not as they were sealed."""
    if args.to is None:
        for option in ("follow", "format", "again", "config"):
            if getattr(args, option):
                raise UsageError(f"--{option} and --evidence do not go together", hint="it goes with --to")
        return _write_evidence(args)
    if args.force:
        raise UsageError("--force and --to do not go together", hint="it goes with --evidence")
    from pythonaudit.cli.exports import ship

    return ship(args)


def _write_evidence(args: argparse.Namespace) -> int:
    from pythonaudit.export.evidence import write_evidence

    path: Path = args.evidence
    if path.exists() and not args.force:
        raise StoreError(f"{path}: is there already", hint="choose another name, or replace it with --force")
    if not path.parent.is_dir():
        raise StoreError(f"{path.parent}: no such directory")
    journal = filters.open_journal(args.dir)
    selection = filters.select(journal, args, time.time_ns())
    archive = Archive(args.dir)
    with progress("proving") as tell:
        report = write_evidence(args.dir, archive, selection.events(journal), path, filters.given(args), tell)
    for problem in archive.problems():
        say(problem)
    if report.open:
        hint = "'pythonaudit ingest' archives and seals them when their processes have ended"
        say(f"left out, being not sealed or not archived: {report.open:,}; {hint}")
    if report.earlier:
        say(f"left out, being archived before sealing began: {report.earlier:,}")
    if report.differing:
        hint = "'pythonaudit verify' says what is wrong"
        say(f"left out, being not as they were sealed: {report.differing:,}; {hint}")
    proven = f"{amount(report.events, 'event')} of {amount(report.segments, 'segment')}"
    by = f"proven by {amount(report.records, 'record')}"
    print(f"{proven}, {by}: {neutralise(str(path))}, {report.bytes:,} bytes, verified")
    return 1 if report.differing else 0
