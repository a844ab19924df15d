"""Tables of any kind in any format: what `sql`, `who` and `stats --by` print.

    add_format(parser)
    tables.write(result, args.format)

A table for people is laid out after all of it has been read, so it is cut at `TABLE_ROWS`, and says so; the
other formats are written as rows come, and whole.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from typing import Any

from pythonaudit.cli.render import Output, Screen, csv_line, json_line, json_text, neutralise, say
from pythonaudit.errors import UsageError
from pythonaudit.query.results import Result

FORMATS = ("table", "jsonl", "csv", "parquet", "arrow")
TABLE_ROWS = 1000


def add_format(parser: argparse.ArgumentParser) -> None:
    """The option `--format`."""
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")


def write(result: Result, form: str, give_way: int = 1) -> int:
    """Writes a result to stdout.

    Args:
        result: of a query.
        form: one of `FORMATS`.
        give_way: how many of the first columns are cut where a terminal is narrow.

    Returns:
        How many rows there were; for Parquet and Arrow -1, which do not say.

    Raises:
        UsageError: bytes would go to a terminal.
    """
    if form in ("parquet", "arrow"):
        if sys.stdout.isatty():
            raise UsageError(f"--format {form} writes bytes", hint=f"send them to a file: ... > result.{form}")
        (result.write_parquet if form == "parquet" else result.write_arrow)(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return -1
    output = Output()
    count = _write_table(output, result, give_way) if form == "table" else 0
    if form == "csv":
        output.write(csv_line(result.columns, output.is_terminal))
    for row in result.rows() if form != "table" else ():
        if form == "jsonl":
            said = {name: value for name, value in zip(result.columns, row, strict=True) if value is not None}
            output.write(json_line(said, output.is_terminal))
        else:
            output.write(csv_line(row, output.is_terminal))
        count += 1
    output.flush()
    return count


def _write_table(output: Output, result: Result, give_way: int) -> int:
    rows = result.rows()
    first = list(itertools.islice(rows, TABLE_ROWS))
    if first:
        screen = Screen(output.is_terminal)
        cells = [[_cell(value) for value in row] for row in first]
        output.write(screen.table(result.columns, cells, min(give_way, len(result.columns))))
    more = sum(1 for _ in rows)
    if more:
        output.flush()
        say(f"{more:,} more rows; --format csv or jsonl has all")
    return len(first) + more


def _cell(value: Any) -> str | int:
    if value is None:
        return ""
    if type(value) is int:
        return value
    return neutralise(json_text(value) if isinstance(value, list | dict) else str(value))
