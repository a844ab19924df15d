"""Tables of any kind in any format.

    add_format(parser)
    tables.write(result, args.format)                 # what a query answers: `sql`, `who`
    tables.write_rows(columns, rows, args.format)     # what is made row by row, as no table: `tree`, `stats`, …

A table for people is laid out after all of it has been read, so it is cut at `TABLE_ROWS`, and says so; the
other formats are written as rows come, and whole. Parquet and Arrow are refused before anything is read where
they would go to a terminal.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pythonaudit.cli.render import Output, Screen, csv_line, json_line, json_text, neutralise, say
from pythonaudit.errors import UsageError

if TYPE_CHECKING:
    from pythonaudit.query.binary import RecordBatch, Schema
    from pythonaudit.query.results import Result

BINARY = ("parquet", "arrow")
FORMATS = ("table", "jsonl", "csv", *BINARY)
TABLE_ROWS = 1000


def add_format(parser: argparse.ArgumentParser, more: Sequence[str] = ()) -> None:
    """The option `--format`.

    Args:
        parser: of the verb.
        more: formats that this verb alone has.
    """
    parser.add_argument(
        "--format", type=_format, choices=(*FORMATS, *more), default="table", help="default: table"
    )


def _format(text: str) -> str:
    if text in BINARY and sys.stdout.isatty():
        raise UsageError(f"--format {text} writes bytes", hint=f"send them to a file: ... > result.{text}")
    return text


def write(result: Result, form: str, give_way: int = 1) -> int:
    """Writes a result to stdout.

    Args:
        result: of a query.
        form: one of `FORMATS`.
        give_way: how many of the first columns are cut where a terminal is narrow.

    Returns:
        How many rows there were.
    """
    if form in BINARY:
        return write_binary(result.schema, result.batches(), form)
    output = Output()
    count = _write_table(output, result, give_way) if form == "table" else 0
    if form == "csv":
        output.write(csv_line(result.columns, output.is_terminal))
    for row in result.rows() if form != "table" else ():
        if form == "csv":
            output.write(csv_line(row, output.is_terminal))
        else:
            output.write(_json_line(output, dict(zip(result.columns, row, strict=True))))
        count += 1
    output.flush()
    return count


def write_rows(columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]], form: str) -> None:
    """Writes rows to stdout, without what is None.

    Args:
        columns: by name, with what they hold (query/binary.py).
        rows: they may lack columns.
        form: one of `FORMATS` but `table`.
    """
    if form in BINARY:
        from pythonaudit.query import binary

        schema = binary.build_schema(columns)
        write_binary(schema, binary.batches_of(schema, rows), form)
        return
    output = Output()
    if form == "csv":
        output.write(csv_line(tuple(columns), output.is_terminal))
    for row in rows:
        if form == "csv":
            output.write(csv_line([row.get(column) for column in columns], output.is_terminal))
        else:
            output.write(_json_line(output, row))
    output.flush()


def write_binary(schema: Schema, batches: Iterable[RecordBatch], form: str) -> int:
    """Writes batches of Arrow to stdout.

    Args:
        schema: of all of them.
        batches: the rows.
        form: one of `BINARY`.

    Returns:
        How many rows there were.
    """
    from pythonaudit.query import binary

    count = binary.write(sys.stdout.buffer, form, schema, batches)
    sys.stdout.buffer.flush()
    return count


def _json_line(output: Output, row: Mapping[str, Any]) -> bytes:
    return json_line({name: value for name, value in row.items() if value is not None}, output.is_terminal)


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
