"""A DuckDB connection that sees events and nothing else: no file, no network, no other variable of ours.

The view `events` has one row an event, with the columns of the table that it is made from; `time` comes as
TIMESTAMPTZ (microseconds), so that it compares with now() and with text, and `time_ns` has all of it.
Arguments and fields are JSON: `args->>0`, `(fields->>'path') LIKE '/etc/%'`. The parentheses are needed before
DuckDB 2, where `->>` binds less than what follows it.
"""

from __future__ import annotations

import re

import duckdb
import pyarrow as pa

from pythonaudit.errors import UsageError

_CLOSED = (
    "SET enable_external_access = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET python_enable_replacements = false",
    "SET TimeZone = 'UTC'",
    "SET lock_configuration = true",
)
_REST = re.compile(r"\n\nLINE|\s+Candidate functions:")
_PREFIX = re.compile(r"^\w+ Error: ")


def connect(events: pa.Table) -> duckdb.DuckDBPyConnection:
    """A connection in memory with the view `events`.

    Args:
        events: a table as `pythonaudit.journal.arrow.to_arrow` makes it.
    """
    connection = duckdb.connect(":memory:")
    for statement in _CLOSED:
        connection.execute(statement)
    connection.register("events", _readable(events))
    return connection


def select_ids(events: pa.Table, where: str) -> frozenset[str]:
    """The ids of the events for which a condition in SQL holds.

    Args:
        events: a table as `pythonaudit.journal.arrow.to_arrow` makes it.
        where: what stands after WHERE.

    Raises:
        UsageError: the condition is not valid SQL, or reaches for what is closed.
    """
    with connect(events) as connection:
        try:
            statements = connection.extract_statements(f"SELECT id FROM events WHERE (\n{where}\n)")
            if len(statements) != 1:
                raise UsageError("--where takes one condition, not several statements")
            rows = connection.execute(statements[0]).fetchall()
        except duckdb.Error as error:
            columns = ", ".join([*events.column_names, "time_ns"])
            raise UsageError(f"--where: {_first_words(error)}", hint=f"columns: {columns}") from None
    return frozenset(row[0] for row in rows)


def _readable(events: pa.Table) -> pa.Table:
    # DuckDB 1 has no nanoseconds with a time zone, and hands conditions on to Arrow, which has none on views.
    columns = {name: events[name] for name in events.column_names}
    columns["time"] = events["time"].cast(pa.timestamp("us", "UTC"), safe=False)
    columns["args"] = events["args"].cast(pa.string())
    columns["time_ns"] = events["time"].cast(pa.int64())
    return pa.table(columns)


def _first_words(error: duckdb.Error) -> str:
    # What follows are all the functions of that name, or the line and a caret below the place.
    text = _REST.split(str(error), maxsplit=1)[0]
    return _PREFIX.sub("", " ".join(text.split()))
