"""`pythonaudit bench`: what recording costs on this machine and this Python, in a table with the goals."""

from __future__ import annotations

import argparse
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path

from pythonaudit.cli import tables
from pythonaudit.cli.costs import Bench, Cost
from pythonaudit.cli.render import Output, Screen, progress, say

_EPILOG = """\
Measures for about 15 seconds: how many instructions a Python executes that is not recorded, with this package
installed and without (where perf or valgrind is there), and how much processor time recording takes, over
nothing, over an audit hook in C that does nothing, and beside a hook in Python. Each figure is the median of
many rounds, with the middle half of them. Nothing is left behind.
"""

_TITLES = ("what", "goal", "here", "middle half")
_COLUMNS = {
    **dict.fromkeys(("name", "text", "goal"), "text"),
    **dict.fromkeys(("value", "low", "high"), "fraction"),
    **dict.fromkeys(("unit", "method"), "text"),
    "rounds": "number",
    "noisy": "flag",
    "python": "text",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    tables.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the costs; always 0: they are no verdict."""
    with tempfile.TemporaryDirectory(prefix="pythonaudit-bench-") as scratch:
        bench = Bench(Path(scratch))
        with progress("measuring") as tell:
            for done, whole in bench.steps():
                tell(done, whole)
    costs = bench.costs()
    if args.format == "table":
        output = Output()
        _write_table(output, costs)
        output.flush()
    else:
        tables.write_rows(_COLUMNS, map(_said, costs), args.format)
    noisy = [cost.name for cost in costs if cost.is_noisy]
    if noisy:
        say(f"this machine is too noisy for {', '.join(noisy)}: measure again when it is quiet")
    return 0


def _write_table(output: Output, costs: list[Cost]) -> None:
    screen = Screen(output.is_terminal)
    build = f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}"
    output.write(screen.paint(build, "bold") + "\n\n")
    output.write(screen.table(_TITLES, [_row(cost) for cost in costs]))


def _row(cost: Cost) -> tuple[str, ...]:
    spread = "" if cost.rounds == 1 else f"{_figure(cost.low)} to {_figure(cost.high)}"
    return cost.text, cost.goal, f"{_figure(cost.value)} {cost.unit}".strip(), spread


def _figure(value: float) -> str:
    """As many digits as mean something."""
    return f"{value:.0f}" if abs(value) >= 20 else f"{value:.2f}" if abs(value - 1) > 0.1 else f"{value:.3f}"


def _said(cost: Cost) -> dict[str, object]:
    numbers = {name: round(getattr(cost, name), 4) for name in ("value", "low", "high")}
    return asdict(cost) | numbers | {"noisy": cost.is_noisy, "python": platform.python_version()}
