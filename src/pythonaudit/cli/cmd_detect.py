"""`pythonaudit detect`: which rules hold of what is recorded."""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pythonaudit.cli import access, filters
from pythonaudit.cli.describe import where_text
from pythonaudit.cli.render import Output, Screen, amount, json_line, neutralise, progress, say

if TYPE_CHECKING:
    from pythonaudit.detect.engine import Alert, Engine
    from pythonaudit.detect.excepted import Exempt
    from pythonaudit.detect.library import Library

LEVELS = ("informational", "low", "medium", "high", "critical")
COULD_NOT = 3
_FORMATS = ("table", "jsonl")
_EPILOG = """\
examples:
  pythonaudit detect --since 1d
  pythonaudit detect --run last --fail high
  pythonaudit detect --rules sigma/rules/linux --format jsonl

Rules are those that come with pythonaudit and those in DIR/rules. What DIR/rules/exceptions.yml excepts gives no
alert. It ends with 3 if a rule could not be used: then the rest was, and that is not all.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    add_rules(parser)
    parser.add_argument("--level", choices=LEVELS, default=LEVELS[0], help="rules of this level and above")
    parser.add_argument("--fail", choices=LEVELS, help="end with 1 if there is an alert of this level or above")
    parser.add_argument("--format", choices=_FORMATS, default="table", help="default: table")
    filters.add_arguments(parser)


def add_rules(parser: argparse.ArgumentParser) -> None:
    """The option `--rules`."""
    help_rules = "take the rules in this directory, or this file, instead"
    parser.add_argument("--rules", type=_place, metavar="DIR", help=help_rules)


def run(args: argparse.Namespace) -> int:
    """Prints alerts. 1 with `--fail` if there is one that bad; 3 if rules could not be used."""
    from pythonaudit.detect.engine import Engine
    from pythonaudit.detect.library import load_library

    library = load_library(args.dir, args.rules)
    exceptions, over = _load_exceptions(args.dir, library)
    journal = filters.open_journal(args.dir)
    selection = filters.select(journal, args, time.time_ns())
    engine = Engine(library, exceptions, args.level)
    with progress("detecting"), selection.connect(journal) as connection:
        alerts = engine.push(connection, selection.query())
    access.shown(len(alerts), "alerts")
    _write(alerts, args.format)
    _say(library, engine, exceptions, over, len(alerts), journal.directory)
    if library.refused:
        return COULD_NOT
    return 1 if args.fail and any(_is_as_bad(alert, args.fail) for alert in alerts) else 0


def _load_exceptions(directory: Path, library: Library) -> tuple[list[Exempt], list[Exempt]]:
    from pythonaudit.detect.excepted import load_exceptions
    from pythonaudit.detect.library import load_placeholders

    today = datetime.datetime.now(datetime.timezone.utc).date()
    own = directory / "rules"
    return load_exceptions(own, library, load_placeholders(own), today)


def _write(alerts: Sequence[Alert], form: str) -> None:
    from pythonaudit.detect.alerts import to_json

    output = Output()
    if form == "jsonl":
        for alert in alerts:
            output.write(json_line(to_json(alert), output.is_terminal))
    elif alerts:
        screen = Screen(output.is_terminal)
        rows = [_row(alert) for alert in alerts]
        output.write(screen.table(("what", "line of code", "package", "level", "count", "first", "last"), rows, 3))
    output.flush()


def _row(alert: Alert) -> tuple[str | int, ...]:
    from pythonaudit.detect.alerts import moment

    head = alert.rule.head
    techniques = f" [{', '.join(head.techniques)}]" if head.techniques else ""
    # Of several that make a correlation complete, the last is the one that did.
    line = next((event for event in alert.events[:: -1 if alert.is_correlation else 1] if event.get("file")), {})
    place, function = neutralise(line.get("file") or ""), neutralise(line.get("function") or "")
    where = where_text(place, line.get("line") or 0, function) if place else ""
    package = " ".join(filter(None, alert.package)) or "-"
    first, last = (moment(at)[:19].replace("T", " ") for at in (alert.first_ns, alert.last_ns))
    return (head.title + techniques, where, package, head.level, alert.count, first, last)


def _say(
    library: Library,
    engine: Engine,
    exceptions: Sequence[Exempt],
    over: Sequence[Exempt],
    alerts: int,
    where: Path,
) -> None:
    for error in library.refused:
        say(f"{error}; {error.hint}" if error.hint else str(error))
    if library.refused:
        say(f"{amount(len(library.refused), 'rule')} could not be used: what they look for was not looked for")
    for exempt in over:
        say(f"{exempt.file}:{exempt.line}: this exception ended on {exempt.expires}, and is not applied")
    for exempt, count in zip(exceptions, engine.excepted, strict=True):
        if count:
            say(f"{amount(count, 'match', 'matches')} excepted: {exempt.reason} ({exempt.file}:{exempt.line})")
    if not alerts:
        say(f"no alert in {where}; {amount(len(library.rules), 'rule was', 'rules were')} looked for")


def _is_as_bad(alert: Alert, level: str) -> bool:
    return LEVELS.index(alert.rule.head.level) >= LEVELS.index(level)


def _place(text: str) -> Path:
    return Path(text).absolute()
