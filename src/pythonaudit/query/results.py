"""The rows of a query, for whoever prints or writes them: a block at a time, whatever their number.

    result = Result(connection, "SELECT event, count(*) AS events FROM events GROUP BY event")
    for row in result.rows(): ...
    binary.write(sys.stdout.buffer, "parquet", result.schema, result.batches())

Values come as Python's own: text, numbers, lists, dictionaries; JSON is decoded; moments are RFC 3339.
"""

from __future__ import annotations

import datetime
import decimal
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from pythonaudit.errors import PythonAuditError, StoreError, UsageError
from pythonaudit.query.connection import MEMORY, Connection, first_words

_BLOCK = 10_000
# What DuckDB says of a part that has gone; since nothing else may be read here, also that it may not look for it.
_GONE = re.compile(
    r"/archive/(?:events|stacks|segments)/.*(?:No such file|No files|\.parquet/\*\*/\*\.parquet)|No files found"
)


class PartsGoneError(StoreError):
    """A part of the archive has gone since the connection was made: compaction or retention took it."""


class Result:
    """The result of one SELECT, to be read once.

    DuckDB goes on computing rows while they are read, and must have stopped when its connection is closed: whoever
    may leave before all are read (a pipe that is closed, Ctrl-C) uses it as a context manager, within that of the
    connection.

    Args:
        connection: one of `connect`.
        query: the whole of it.
        what: the option or command that a part of it came with, for the complaint; None: all of it is ours.

    Attributes:
        columns: their names.

    Raises:
        UsageError: it is no SELECT, not valid, or reaches for what is closed; also while the rows are read.
        PythonAuditError: it needs more memory than it may have; also while the rows are read.
        PartsGoneError: the archive was changed meanwhile; also while the rows are read.
    """

    def __init__(self, connection: Connection, query: str, what: str | None = None) -> None:
        self._what = what
        with self._complaints():
            statements = connection.extract_statements(query)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise UsageError(f"{what} takes one SELECT, and nothing else")
            relation = connection.sql(statements[0])
            self.columns: list[str] = relation.columns
            self._is_json = [str(kind) == "JSON" for kind in relation.types]
            self._reader: pa.RecordBatchReader = relation.to_arrow_reader(_BLOCK)

    def __enter__(self) -> Result:
        return self

    def __exit__(self, *_unused: object) -> None:
        self._reader.close()

    def rows(self) -> Iterator[list[Any]]:
        """The rows, in order."""
        for batch in self.batches():
            columns = [
                _values(column, is_json) for column, is_json in zip(batch.columns, self._is_json, strict=True)
            ]
            yield from map(list, zip(*columns, strict=True))

    def table(self) -> pa.Table:
        """All rows, as Arrow has them."""
        return pa.Table.from_batches(self.batches(), self.schema)

    def tables(self, rows: int) -> Iterator[pa.Table]:
        """All rows, so many or a few more at a time; no table is empty."""
        batches: list[pa.RecordBatch] = []
        for batch in self.batches():
            batches.append(batch)
            if sum(some.num_rows for some in batches) >= rows:
                yield pa.Table.from_batches(batches, self.schema)
                batches = []
        if any(batch.num_rows for batch in batches):
            yield pa.Table.from_batches(batches, self.schema)

    @property
    def schema(self) -> pa.Schema:
        """Of the rows as Arrow has them."""
        return self._reader.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as Arrow has them, in order."""
        with self:
            while True:
                with self._complaints():
                    try:
                        batch = self._reader.read_next_batch()
                    except StopIteration:
                        return
                yield batch

    @contextmanager
    def _complaints(self) -> Iterator[None]:
        """What DuckDB says, in one line; errors while rows are read come through Arrow, as OSError."""
        try:
            yield
        except (duckdb.Error, OSError, pa.ArrowException) as error:
            text = first_words(error)
            if "memory" in text.lower():
                hint = f"no more than {MEMORY} is used: narrow it down with filters, or aggregate"
                raise PythonAuditError(f"{self._what or 'query'}: {text}", hint=hint) from None
            if _GONE.search(text):
                hint = "the archive was changed meanwhile: run it again"
                raise PartsGoneError("a part of the archive has gone", hint=hint) from None
            if self._what is None:
                raise
            raise UsageError(f"{self._what}: {text}") from None


def _values(column: pa.Array, is_json: bool) -> list[Any]:
    """A column as JSON can have it."""
    values: list[Any] = column.to_pylist()
    if is_json:
        return [None if value is None else json.loads(value) for value in values]
    if pa.types.is_string(column.type) or pa.types.is_integer(column.type):
        return values
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    """A value as JSON can have it."""
    if isinstance(value, datetime.datetime):
        utc = value.astimezone(datetime.timezone.utc) if value.tzinfo else value
        return utc.strftime("%Y-%m-%dT%H:%M:%S.%f") + ("Z" if value.tzinfo else "")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, uuid.UUID | datetime.date | datetime.time | datetime.timedelta):
        return str(value)
    return value
