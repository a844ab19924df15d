"""`pythonaudit who`: which package, and which line of code, did what to what."""

from __future__ import annotations

import argparse
import difflib
import time

from pythonaudit.cli import access, filters, tables
from pythonaudit.cli.describe import where_text
from pythonaudit.cli.render import Output, Screen, neutralise, say
from pythonaudit.errors import UsageError
from pythonaudit.query.results import Result
from pythonaudit.query.who import ACTS, build_query

_EPILOG = """\
acts:
{acts}

examples:
  pythonaudit who opens '/etc/*'
  pythonaudit who runs git --since 1d
  pythonaudit who connects '*.example.com' --run last
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG.format(acts="\n".join(f"  {name:<10} {act.summary}" for name, act in ACTS.items()))
    parser.add_argument("act", type=_act, metavar="ACT", help=", ".join(ACTS))
    help_pattern = "a glob; default: anything"
    parser.add_argument(
        "pattern", nargs="?", type=filters.plain, default="*", metavar="PATTERN", help=help_pattern
    )
    tables.add_format(parser)
    filters.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints who did it; always 0."""
    journal = filters.open_journal(args.dir, args)
    selection = filters.select(journal, args, time.time_ns())
    query = build_query(args.act, args.pattern, selection.query())
    with selection.connect(journal) as connection, Result(connection, query, "--where") as result:
        found = _write_table(result) if args.format == "table" else tables.write(result, args.format)
    if found >= 0:
        access.shown(found, "rows")
    if not found:
        say(f"nobody {args.act} {args.pattern} in {journal.name}")
    return 0


def _write_table(result: Result) -> int:
    """For people: who, how often, when, which line of code, an example."""
    output, rows = Output(), []
    for row in result.rows():
        package, version, count, first, last, file, line, function, example = row
        where = where_text(neutralise(file), line or 0, neutralise(function or "")) if file else ""
        who = " ".join(filter(None, (package, version))) or "-"
        rows.append((example or "", where, who, count, _second(first), _second(last)))
    if rows:
        screen = Screen(output.is_terminal)
        columns = ("what, the last time", "line of code", "package", "count", "first", "last")
        output.write(screen.table(columns, rows, 2))
    output.flush()
    return len(rows)


def _second(moment: str) -> str:
    return moment[:19].replace("T", " ")


def _act(text: str) -> str:
    if text in ACTS:
        return text
    near = difflib.get_close_matches(text, ACTS, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"acts: {', '.join(ACTS)}"
    raise UsageError(f"{text!r} is no act that can be asked for", hint=hint)
