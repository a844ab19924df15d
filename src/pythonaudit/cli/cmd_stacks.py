"""`pythonaudit stacks`: where events come from, as collapsed stacks or a flame graph."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pythonaudit.cli import access, filters
from pythonaudit.cli.render import Output, amount, neutralise, say

if TYPE_CHECKING:
    from pythonaudit.query.flame import Tree

_FOLDED, _SPEEDSCOPE, _HTML = _FORMATS = ("folded", "speedscope", "html")
_BY = ("function", "package", "event")
_EPILOG = """\
Events that are only counted (PYTHONAUDIT_EVENTS) have no stack, and are not here.

examples:
  pythonaudit stacks --format html -o stacks.html
  pythonaudit stacks --category file --by package
  pythonaudit stacks --run last --by event | flamegraph.pl --countname events > stacks.svg
  pythonaudit stacks --format speedscope -o stacks.speedscope.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    help_by = "a bar is a function, or a package; event: the event's name is the innermost bar (default: function)"
    parser.add_argument("--by", choices=_BY, default="function", help=help_by)
    help_format = "folded: 'frame;frame;frame count' a line; html: a flame graph in one file (default: folded)"
    parser.add_argument("--format", choices=_FORMATS, default=_FOLDED, help=help_format)
    parser.add_argument("-o", "--output", metavar="FILE", help="write to a file; default: stdout")
    filters.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the stacks; always 0."""
    from pythonaudit.query.callers import read_tree

    journal = filters.open_journal(args.dir, args)
    selection = filters.select(journal, args, time.time_ns())
    with selection.connect(journal) as connection:
        tree = read_tree(connection, selection.query(), args.by)
    access.shown(sum(tree.own))
    pieces = _pieces(tree, args.format)
    if args.output is None:
        output = Output()
        for piece in pieces:
            output.write(piece)
        output.flush()
    else:
        with open(args.output, "w", encoding="utf-8") as file:
            file.writelines(pieces)
    if not sum(tree.own):
        say(f"no event matches in {args.dir}")
    elif args.output is not None:
        say(f"{args.output}: {_summary(tree)}")
    damage = journal.damage()
    if damage:
        say(f"{amount(len(damage), 'damaged place')} left out; see 'pythonaudit stats'")
    return 0


def _pieces(tree: Tree, form: str) -> Iterator[str]:
    from pythonaudit.query import flame

    if form == _FOLDED:
        return flame.folded(tree, neutralise)
    if form == _SPEEDSCOPE:
        return flame.speedscope(tree, neutralise, "pythonaudit stacks")
    from pythonaudit.query.flame_page import page

    return page(tree, neutralise, "Where events come from", _summary(tree))


def _summary(tree: Tree) -> str:
    stacks = sum(map(bool, tree.own))
    return f"{amount(sum(tree.own), 'event')} of {amount(stacks, 'stack')}"
