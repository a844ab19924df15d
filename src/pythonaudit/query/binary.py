"""Rows as a file of Parquet, or as a stream of Arrow (IPC): in blocks, whatever their number.

schema = build_schema({"process": "text", "events": "number", "begin": "moment"})
count = write(sys.stdout.buffer, "parquet", schema, batches_of(schema, rows))
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

RecordBatch, Schema = pa.RecordBatch, pa.Schema

_KINDS = {
    "text": pa.string(),
    "texts": pa.list_(pa.string()),
    "number": pa.int64(),
    "fraction": pa.float64(),
    "flag": pa.bool_(),
    "moment": pa.timestamp("ns", "UTC"),
}
_BLOCK = 10_000


def build_schema(columns: Mapping[str, str]) -> pa.Schema:
    """Columns by name, with what they hold: `text`, `texts`, `number`, `fraction`, `flag` or `moment`."""
    return pa.schema([(name, _KINDS[kind]) for name, kind in columns.items()])


def batches_of(schema: pa.Schema, rows: Iterable[Mapping[str, Any]]) -> Iterator[pa.RecordBatch]:
    """Rows as JSON has them: moments are RFC 3339, what a row lacks is null."""
    rows = iter(rows)
    while block := list(itertools.islice(rows, _BLOCK)):
        columns = [_column([row.get(field.name) for row in block], field.type) for field in schema]
        yield pa.record_batch(columns, schema=schema)


def write(file: BinaryIO, form: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Writes batches; small ones are put together, so that Parquet has no row group for each.

    Args:
        file: open for writing.
        form: `parquet` or `arrow`.
        schema: of all batches.
        batches: the rows.

    Returns:
        How many rows there were.
    """
    count = 0
    writer = (
        pa.ipc.new_stream(file, schema) if form == "arrow" else pq.ParquetWriter(file, schema, compression="zstd")
    )
    with writer:
        for table in _blocks(batches):
            writer.write_table(table)
            count += len(table)
    return count


def _blocks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= _BLOCK:
            yield pa.Table.from_batches(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        return pa.array([value and value.encode("utf-8", "backslashreplace") for value in values], kind)
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)
