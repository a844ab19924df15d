"""`pythonaudit diff`: what one run or stretch of time did that another did not."""

from __future__ import annotations

import argparse
import time

from pythonaudit.cli import access, filters, tables
from pythonaudit.cli.diff_formats import FORMATS, Report, write_rows
from pythonaudit.cli.render import Output, amount, say
from pythonaudit.cli.sides import Recorded, Side, find_sides, read_side
from pythonaudit.query.behaviour import KINDS
from pythonaudit.query.diff import compare

_MOST = 20
_EPILOG = """\
A and B are labels of 'pythonaudit run', 'last', 'last~1', or stretches of time FROM..UNTIL.

kinds:
{kinds}

examples:
  pythonaudit diff last~1 last
  pythonaudit diff main canary --fail --format markdown
  pythonaudit diff 2d..1d 1d.. --category network
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG.format(kinds="\n".join(f"  {kind:<10} {text}" for kind, text in KINDS.items()))
    parser.add_argument("before", metavar="A", help="what is compared with")
    parser.add_argument("after", metavar="B", help="what is looked at")
    parser.add_argument("--fail", action="store_true", help="end with 1 if B did something that A did not")
    help_n = f"table and markdown: the first N of each package and kind (default: {_MOST})"
    parser.add_argument("-n", type=filters.count, default=_MOST, metavar="N", help=help_n)
    tables.add_format(parser, more=("json", "markdown"))
    filters.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the differences; 1 with `--fail` if something is new, else 0."""
    journal = filters.open_journal(args.dir, args)
    sides = find_sides(journal, args, (args.before, args.after), time.time_ns())
    is_runs = all(side.run is not None for side in sides)
    before, after = ((side, read_side(journal, side, is_runs)) for side in sides)
    report = Report(before, after, compare(before[1].summary, after[1].summary))
    access.shown(before[1].events + after[1].events)
    if args.format in FORMATS:
        output = Output()
        FORMATS[args.format](output, report, args.n)
        output.flush()
    else:
        write_rows(report, args.format)
    for side, recorded in (before, after):
        _warn(side, recorded)
    return 1 if args.fail and report.found.added else 0


def _warn(side: Side, recorded: Recorded) -> None:
    if not recorded.events:
        say(f"no event of {side.name} matches")
    if recorded.lost:
        many = f"events of {side.name} were lost, and are in no comparison"
        say(amount(recorded.lost, f"event of {side.name} was lost, and is in no comparison", many))
