"""`pythonaudit log`: what happened, oldest first."""

from __future__ import annotations

import argparse
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pythonaudit.archive.manifest import Archive
from pythonaudit.cli import access, filters, tables
from pythonaudit.cli.describe import process_label
from pythonaudit.cli.filters import Selection
from pythonaudit.cli.formats import FLEET_FORMATS, FORMATS, Format
from pythonaudit.cli.render import Output, amount, say
from pythonaudit.errors import UsageError
from pythonaudit.journal.decode import Event
from pythonaudit.journal.follow import POLL_SECONDS
from pythonaudit.journal.process import Process
from pythonaudit.journal.reader import Journal, SegmentHead
from pythonaudit.journal.summary import named_losses

_EPILOG = """\
examples:
  pythonaudit log -n 20
  pythonaudit log --since 15m --category network --format jsonl
  pythonaudit log -f --event 'User logged in*'
  pythonaudit log --run last --path '/etc/*'
  pythonaudit log --since 1d --format parquet > events.parquet
"""

_REASONS = {
    "no-space": "the disk was full",
    "no-journal": "no journal could be written",
    "no-memory": "the recorder had no memory",
    "limit": "PYTHONAUDIT_MAX_BYTES was reached",
    "evicted": "removed to stay below PYTHONAUDIT_MAX_BYTES",
    "reentered": "raised inside the recorder",
    "file-limit": "RLIMIT_FSIZE left no room for a segment",
}
_NAMED_AT_MOST = 3
_DAMAGE_AT_MOST = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    parser.add_argument("-n", type=filters.count, metavar="N", help="the last N that match; all by default")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new events as they come")
    tables.add_format(parser)
    filters.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the events; always 0."""
    is_binary = args.format in tables.BINARY
    if args.follow and is_binary:
        raise UsageError(f"--format {args.format} and --follow do not go together", hint="follow with jsonl")
    if args.follow and not isinstance(args.dir, Path):
        raise UsageError(f"{args.dir}: nobody records into a bucket", hint="--follow is for a directory")
    if args.follow:
        _await_journal(args.dir)
    journal = filters.open_journal(args.dir, args)
    selection = filters.select(journal, args, time.time_ns())
    if args.follow:
        _write(
            access.counted(selection.follow(journal, args.n, threading.Event())),
            args.format,
            FORMATS,
            at_once=True,
        )
        return 0
    events = selection.events(journal) if args.n is None else selection.tail(journal, args.n)
    events = access.counted(events)
    if is_binary:
        from pythonaudit.query.given import Given

        given = Given(journal, selection.wanted)  # the columns are those of the view `events`
        printed = tables.write_binary(given.schema, given.batches(events), args.format)
    else:
        printed = _write(events, args.format, FORMATS if isinstance(args.dir, Path) else FLEET_FORMATS)
    if not printed and args.n != 0:
        heads = [head for head in journal.heads() if head.header.process.hex() != selection.wanted.without]
        is_any = heads or (journal.archived and any(journal.archived.known()))
        known = "no event matches" if is_any or not isinstance(args.dir, Path) else "no event is recorded"
        say(f"{known} in {journal.name}")
    heads = journal.heads()
    _say_losses(journal, heads, selection)
    _say_missing(journal, heads, selection)
    _say_damage(journal)
    return 0


def _write(
    events: Iterable[Event], name: str, formats: Mapping[str, Callable[[bool], Format]], at_once: bool = False
) -> int:
    """Prints events, each at once if somebody waits for it; how many."""
    output = Output()
    form = formats[name](output.is_terminal)
    output.write(form.header())
    printed = 0
    for event in events:
        output.write(form.line(event))
        printed += 1
        if at_once:
            output.flush()
    output.flush()
    return printed


def _await_journal(directory: Path) -> None:
    """Waits until something is recorded."""
    journal = directory / "journal"
    waiting = False
    while True:
        try:
            journal.stat()
            return
        except FileNotFoundError:
            if Archive(directory).exists:
                return
        except OSError:
            return  # reading it says what is wrong
        if not waiting:
            say(f"nothing is recorded in {directory} yet; waiting")
            waiting = True
        time.sleep(POLL_SECONDS)


def _say_losses(journal: Journal, heads: Sequence[SegmentHead], selection: Selection) -> None:
    """One line for each reason, of the processes that were asked for."""
    counts: dict[str, dict[str, int]] = defaultdict(dict)

    def add(process: Process | None, losses: Mapping[str, int]) -> None:
        if process is not None and selection.wanted.wants_process(process):
            who = process_label(process)
            for reason, count in losses.items():
                counts[reason][who] = counts[reason].get(who, 0) + count

    for recorded in journal.archived.recorded(lossy=True) if journal.archived else ():
        if selection.wanted.wants_segment(recorded.header, recorded.end_ns):
            add(recorded.process, recorded.losses)
    for head in heads:
        losses = named_losses(head.header)
        if losses and selection.wanted.wants_segment(head.header, head.end_ns):
            add(journal.process(head), losses)
    for reason, processes in counts.items():
        total, who = sum(processes.values()), _name_some(list(processes))
        if reason == "unrecorded-child":
            say(f"{amount(total, 'forked process', 'forked processes')} not recorded ({who})")
        else:
            lost = amount(total, "event")
            say(f"{lost} lost: {_REASONS.get(reason, reason)} ({who})")


def _say_missing(journal: Journal, heads: Sequence[SegmentHead], selection: Selection) -> None:
    """One line about segments that have gone, of the processes that were asked for."""
    missing = journal.missing(heads)
    counts: dict[str, int] = {}
    for head in heads:
        process = head.header.process.hex()
        if process not in missing or not selection.wanted.wants_segment(head.header, head.end_ns):
            continue
        described = journal.process(head)
        if described and selection.wanted.wants_process(described):
            who = process_label(described)
            counts[who] = counts.get(who, 0) + missing.pop(process)
    if counts:
        gone = amount(sum(counts.values()), "segment is", "segments are")
        say(f"{gone} not there any more: evicted, removed, or in another user's box ({_name_some(list(counts))})")


def _say_damage(journal: Journal) -> None:
    damage = journal.damage()
    for path, _, length, reason in damage[:_DAMAGE_AT_MOST]:
        extent = f"{length} bytes unreadable: " if length else ""
        say(f"{path}: {extent}{reason}")
    problems = journal.archived.problems() if journal.archived else []
    for problem in problems[:_DAMAGE_AT_MOST]:
        say(problem)
    if len(damage) > _DAMAGE_AT_MOST:
        say(f"{len(damage) - _DAMAGE_AT_MOST} more places are damaged; see 'pythonaudit stats'")


def _name_some(processes: list[str]) -> str:
    named = ", ".join(processes[:_NAMED_AT_MOST])
    more = len(processes) - _NAMED_AT_MOST
    return f"{named} and {more} more" if more > 0 else named
