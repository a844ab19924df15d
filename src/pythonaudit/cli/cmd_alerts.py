"""`pythonaudit alerts`: the alerts that the agent has told, one of them with its whole story, and closing it."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pythonaudit.cli import access, filters
from pythonaudit.cli.cmd_detect import LEVELS
from pythonaudit.cli.render import Output, Screen, amount, json_line, neutralise, say
from pythonaudit.errors import PythonAuditError, StoreError, UsageError
from pythonaudit.journal.filters import EventFilter, compile_globs, normal_name
from pythonaudit.journal.reader import Journal

if TYPE_CHECKING:
    from pythonaudit.detect.trail import Told

_EPILOG = """\
acts:
  list               alerts that are open (the default); with --all, closed ones as well
  show ID            one of them: its rule, its events with stacks and contexts, the process tree above them
  close ID --reason  say why it needs nothing more; recorded, with who said so

An agent tells alerts where its configuration has [detect]; 'pythonaudit detect' looks at what is there already. Further
matches of what was closed make a new alert.

examples:
  pythonaudit alerts --level high --since 1d
  pythonaudit alerts show 3f2a9c0d71be
  pythonaudit alerts close 3f2a9c0d71be --reason "the installer; see ticket 17"
"""
_ACTS = ("list", "show", "close")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    parser.add_argument("act", nargs="?", choices=_ACTS, default="list", metavar="ACT", help=", ".join(_ACTS))
    parser.add_argument("id", nargs="?", type=filters.plain, metavar="ID", help="show, close: or its beginning")
    parser.add_argument("--reason", type=filters.plain, metavar="TEXT", help="close: why")
    parser.add_argument("--all", action="store_true", help="list: closed ones as well")
    parser.add_argument("--format", choices=("table", "jsonl"), default="table", help="default: table")
    group = parser.add_argument_group("filters", "Of list. All must hold.")
    group.add_argument("--level", choices=LEVELS, default=LEVELS[0], help="of this level and above")
    group.add_argument(
        "--since", metavar="TIME", help="with a match since then: 2026-11-22, 15m, 2d (ago) or today"
    )
    group.add_argument("--until", metavar="TIME", help="with a match before")
    group.add_argument("--host", action="append", type=filters.plain, metavar="GLOB", help="name of the host")
    group.add_argument("--package", action="append", type=filters.plain, metavar="GLOB", help="that did it")
    group.add_argument(
        "--rule", action="append", type=filters.plain, metavar="GLOB", help="title or id of the rule"
    )


def run(args: argparse.Namespace) -> int:
    """Does the act; 3: it could not be recorded that an alert is closed."""
    if (args.act == "list") != (args.id is None):
        raise UsageError(f"'alerts {args.act}' takes {'no' if args.act == 'list' else 'an'} ID", hint="see --help")
    if (args.act == "close") != (args.reason is not None):
        hint = 'as in: alerts close ID --reason "the installer"'
        raise UsageError("--reason goes with close, and close with it", hint=hint)
    journal = filters.open_journal(args.dir, args)
    alerts = load_alerts(journal)
    if args.act == "list":
        return _list(args, alerts)
    told = _find(alerts, args.id)
    if args.act == "close":
        return _close(args, told)
    access.shown(1, "alerts")
    if args.format == "jsonl":
        output = Output()
        output.write(json_line(told.to_json(), output.is_terminal))
        output.flush()
    else:
        from pythonaudit.cli.alert_story import write_story

        write_story(args.dir, journal, told)
    return 0


def load_alerts(journal: Journal) -> list[Told]:
    """The alerts in the trail, in the order in which they were first told."""
    from pythonaudit.detect.trail import NAMES, fold

    try:
        owner = os.stat(journal.directory).st_uid
    except OSError:
        owner = 0
    return fold(journal.events(EventFilter(names=NAMES)), frozenset({0, owner}))


def _list(args: argparse.Namespace, alerts: Sequence[Told]) -> int:
    reach = filters.select_reach(args, time.time_ns())
    since, until = (None if at is None else _text(at) for at in (reach.since_ns, reach.until_ns))
    hosts = compile_globs(args.host or ())
    packages = compile_globs([normal_name(glob) for glob in args.package or ()])
    rules = compile_globs(args.rule or ())
    least = LEVELS.index(args.level)
    chosen = [
        told
        for told in alerts
        if (args.all or told.closed is None)
        and LEVELS.index(told.level) >= least
        and (since is None or told.last >= since)
        and (until is None or told.first < until)
        and (hosts is None or hosts.match(told.host))
        and (packages is None or packages.match(normal_name(told.package.get("name", ""))))
        and (rules is None or rules.match(told.title) or rules.match(told.rule))
    ]
    access.shown(len(chosen), "alerts")
    output = Output()
    if args.format == "jsonl":
        for told in chosen:
            output.write(json_line(told.to_json(), output.is_terminal))
    elif chosen:
        columns = ["what", "alert", "level", "host", "package", "count", "first", "last"]
        columns += ["closed"] if args.all else []
        output.write(Screen(output.is_terminal).table(columns, [_row(told, args.all) for told in chosen], 1))
    output.flush()
    if not chosen:
        known = f"{amount(len(alerts), 'alert')} in all" if alerts else "an agent tells them where [detect] is set"
        say(f"no alert matches; {known}")
    return 0


def _row(told: Told, with_closed: bool) -> tuple[str | int, ...]:
    techniques = f" [{', '.join(told.techniques)}]" if told.techniques else ""
    package = " ".join(filter(None, (told.package.get("name"), told.package.get("version")))) or "-"
    first, last = (text[:19].replace("T", " ") for text in (told.first, told.last))
    row = (told.title + techniques, told.id, told.level, told.host or "-", package, told.count, first, last)
    closed = f"{told.closed_by}: {told.closed}" if told.closed is not None else ""
    return (*row, closed) if with_closed else row


def _find(alerts: Sequence[Told], word: str) -> Told:
    found = [told for told in alerts if told.id.startswith(word.lower())]
    if len(found) == 1:
        return found[0]
    if not found:
        raise PythonAuditError(f"no alert {word!r}", hint="'pythonaudit alerts --all' lists them")
    raise UsageError(f"{word!r} is the beginning of {amount(len(found), 'alert')}", hint="write more of it")


def _close(args: argparse.Namespace, told: Told) -> int:
    from pythonaudit.detect.trail import CLOSED

    if not args.reason.strip():
        raise UsageError("--reason: why is it closed?")
    if told.closed is not None:
        raise PythonAuditError(f"alert {told.id} was closed by {told.closed_by}: {told.closed}")
    if not isinstance(args.dir, Path):
        raise UsageError(
            f"{args.dir}: alerts are closed where they were told", hint="on the host, in its directory"
        )
    owner = os.stat(args.dir).st_uid
    if os.geteuid() not in (0, owner):
        hint = "its word counts: anybody could close an alert about himself"
        raise StoreError(f"{args.dir}: belongs to another user, who closes its alerts", hint=hint)
    trouble = access.record(args.dir) or access.tell(CLOSED, {"alert": told.id, "reason": args.reason})
    if trouble:
        raise StoreError(f"{args.dir}: it cannot be recorded that alert {told.id} is closed: {trouble}")
    print(f"closed: {told.id} {neutralise(told.title)}")
    return 0


def _text(time_ns: int) -> str:
    from pythonaudit.journal.decode import format_time

    return format_time(time_ns).decode()
