"""`pythonaudit status`: whether an agent runs, what is sealed and archived, what waits, and what is wrong."""

from __future__ import annotations

import argparse
from typing import Any

from pythonaudit.agent.status import Status, read_status_of
from pythonaudit.cli import filters, settings
from pythonaudit.cli.render import Output, amount, json_line, neutralise
from pythonaudit.journal.decode import format_time
from pythonaudit.journal.reader import Journal

_EPILOG = """\
Ends with 0 if all is well, with 1 if something is wrong: no agent where there are keys and the last checkpoint is old,
an agent that does not get on, a key that is not there.

example:
  pythonaudit status --format jsonl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    settings.add_argument(parser)
    parser.add_argument("--format", choices=("table", "jsonl"), default="table", help="default: table")


def run(args: argparse.Namespace) -> int:
    """Prints it; 1 if something is wrong."""
    config = settings.load(args)
    status = read_status_of(args.dir, config, Journal(args.dir, filters.further_directories()))
    output = Output()
    if args.format == "jsonl":
        output.write(json_line(_said(status), output.is_terminal))
    else:
        for name, text in _rows(status):
            output.write(f"{name:<12} {neutralise(text)}\n")
    output.flush()
    return 1 if status.wrong else 0


def _said(status: Status) -> dict[str, object]:
    said = status.to_dict()
    since_ns = said.pop("since_ns", None)
    return said | ({"since": format_time(since_ns).decode()} if since_ns else {})


def _rows(status: Status) -> list[tuple[str, str]]:
    rows = [("agent", _agent(status)), ("seal", _seal(status))]
    waiting = f"{amount(status.events, 'event')} in {amount(status.segments, 'segment')}, {status.closed:,} closed"
    if status.unsealed is not None:
        waiting += f"; {amount(status.unsealed, 'event')} not sealed"
    rows.append(("journal", waiting))
    archived = f"{amount(status.archived_events, 'event')} in {amount(status.batches, 'batch', 'batches')}"
    rows.append(("archive", f"{archived}, {status.archive_bytes / 1e6:,.1f} MB"))
    losses = ", ".join(f"{reason} {count:,}" for reason, count in status.losses.items())
    rows.append(("losses", f"{losses} ('pythonaudit stats' says more)" if losses else "none in the journal"))
    if status.detection:
        said = status.detection
        text = f"{amount(said['rules'], 'rule')}, {amount(said['events'], 'event')}, {amount(said['alerts'], 'alert')}"
        rows.append(("detection", f"{text} since the agent started"))
    for name, export in status.exports.items():
        rows.append(("export", f"{name}: {_export(export)}"))
    if status.problems:
        rows.append(("problems", f"{status.problems:,} since the agent started"))
    rows += [("", text) for text in status.latest[-3:]]
    rows += [("wrong", text) for text in status.wrong]
    return rows


def _agent(status: Status) -> str:
    if not status.agent:
        return "none runs here"
    since = f", since {format_time(status.since_ns).decode()[:19]}Z" if status.since_ns else ""
    lag = f", {status.lag:.1f} s from commit to seal" if status.lag is not None and status.sealing else ""
    return f"runs: process {status.pid}{since}{lag}"


def _seal(status: Status) -> str:
    if not status.sealing:
        return "nothing is sealed here; begin with 'pythonaudit keys init'"
    age = "none" if status.checkpoint_age is None else f"{status.checkpoint_age:.0f} s ago"
    records = f", {status.records:,} records" if status.records is not None else ""
    epoch = f", epoch {status.epoch}" if status.epoch is not None else ""
    return f"last checkpoint {age}{records}{epoch}"


def _export(said: dict[str, Any]) -> str:
    text = f"{amount(said['sent'], 'event')} sent"
    text += f", {said['refused']:,} refused" if said["refused"] else ""
    text += f", {amount(said['gone'], 'segment')} had gone before" if said["gone"] else ""
    return f"{text}, {said['behind']:.0f} s behind" if "behind" in said else text
