"""Tables to parts: files of Parquet, written beside their place and put there whole.

Columns that grow steadily are written as differences, those that repeat as dictionaries, and all of it is
compressed with zstd. Row groups are small enough that the statistics of one tell it from the next, and large
enough that their dictionaries pay.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pythonaudit.archive import schema
from pythonaudit.archive.manifest import Archive, Part
from pythonaudit.durable import sync_directory

ROW_GROUP = 1 << 17
ABSENT = "__HIVE_DEFAULT_PARTITION__"  # what Hive, Spark, DuckDB and Polars call a partition of null
_COMPRESSION_LEVEL = 1  # higher ones made no smaller parts of what was recorded, but cost more
_DICTIONARY_MAX = 4096  # texts
_DAY_NS = 86_400_000_000_000
_READ = 1 << 20
_NAME_MAX = 200  # of a directory; file systems have 255
# No honest batch has more pairs of day and host, and each pair is a file.
_SPLIT_MAX = 1000


def split_events(events: pa.Table) -> Iterator[tuple[str, str, pa.Table]]:
    """Day and host of some events, and the events, in the order in which they stand.

    Args:
        events: as `columns.build_events` makes them, with dictionaries.
    """
    days = events["time"].cast(pa.int64()).to_numpy() // (_DAY_NS // 1000)
    hosts = events["host"].combine_chunks()
    # No name and an empty one are one.
    names: list[str] = ["", *(name for name in hosts.dictionary.to_pylist() if name)]
    position = {name: number for number, name in enumerate(names)}
    places = np.array([position[name or ""] for name in hosts.dictionary.to_pylist()] + [0], np.int64)
    host = places[hosts.indices.fill_null(len(places) - 1).to_numpy()]
    keys = days * len(names) + host
    if len(np.unique(keys)) > _SPLIT_MAX:
        days = np.full(len(days), days.min())
        keys = host
    for key in np.unique(keys).tolist():
        wanted = keys == key
        first = int(wanted.argmax())
        day = datetime.fromtimestamp(int(days[first]) * 86400, timezone.utc).strftime("%Y-%m-%d")
        rows = events if wanted.all() else events.filter(pa.array(wanted))
        yield day, names[host[first]], rows


def write_events(archive: Archive, batch: str, events: pa.Table) -> list[Part]:
    """Writes the events of a batch: one part for each day and host.

    Args:
        archive: where.
        batch: its name.
        events: as `columns.build_events` makes them.
    """
    found = []
    for day, host, rows in split_events(events):
        path = f"events/day={day}/host={directory_of(host)}/{batch}.parquet"
        times = rows["time"].cast(pa.int64()).to_numpy()
        begin, end = int(times.min()) * 1000, int(times.max()) * 1000 + 999
        found.append(write_part(archive, "events", path, rows, day=day, host=host, begin_ns=begin, end_ns=end))
    return found


def directory_of(host: str) -> str:
    """What stands for a host in the name of a directory."""
    quoted = quote(host, safe="") or ABSENT
    if host == ABSENT:
        quoted = quoted.replace("_", "%5F")
    if len(quoted) <= _NAME_MAX:
        return quoted
    return f"{re.sub('%.?$', '', quoted[:_NAME_MAX])}~{hashlib.sha256(host.encode()).hexdigest()[:16]}"


def write_part(archive: Archive, table: str, path: str, rows: pa.Table, **more: object) -> Part:
    """Writes one part.

    Args:
        archive: where.
        table: of which table it is.
        path: below the archive.
        rows: what.
        more: further attributes of the part.

    Raises:
        OSError: there is no room, or the archive cannot be written.
    """
    whole = archive.root.joinpath(*path.split("/"))
    whole.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = whole.with_name(whole.name + ".new")
    wanted = schema.TABLES[table]
    steady = [f.name for f in wanted if f.name in schema.DIFFERENCES and not pa.types.is_string(f.type)]
    dictionaries = [name for name in wanted.names if name not in schema.PLAIN.union(steady)]
    dictionaries = ["notes.list.element" if name == "notes" else name for name in dictionaries]
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        pq.write_table(
            _without_large(rows.select(wanted.names)),
            file,
            row_group_size=ROW_GROUP,
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            use_dictionary=dictionaries,
            column_encoding=dict.fromkeys(steady, "DELTA_BINARY_PACKED"),
            store_schema=False,
        )
        file.flush()
        os.fsync(file.fileno())
    size, digest = _digest(new)
    os.replace(new, whole)
    sync_directory(whole.parent)
    return Part(table, path, len(rows), size, digest, **more)  # type: ignore[arg-type]


def _without_large(rows: pa.Table) -> pa.Table:
    """Without dictionaries that each row group would have to repeat: it makes one of the texts that it has."""
    for at, column in enumerate(rows.columns):
        is_large = pa.types.is_dictionary(column.type) and any(
            len(chunk.dictionary) > _DICTIONARY_MAX for chunk in column.chunks
        )
        if is_large:
            rows = rows.set_column(at, rows.schema.names[at], column.cast(column.type.value_type))
    return rows


def read_part(
    archive: Archive,
    part: Part,
    columns: Sequence[str] | None = None,
    *,
    dictionaries: Sequence[str] = (),
    group: int | None = None,
) -> pa.Table:
    """Reads a part. Columns that it does not have, being of an earlier version, are null; others are left out.

    Args:
        archive: where it is.
        part: which.
        columns: which columns of its table; None: all.
        dictionaries: those that are wanted as dictionaries.
        group: only this row group; None: all.

    Raises:
        OSError, pyarrow.ArrowException: it has gone, or is damaged.
    """
    path = archive.fetch(part)
    wanted = schema.TABLES[part.table]
    names = wanted.names if columns is None else columns
    metadata = pq.read_metadata(path)
    known = set(metadata.schema.to_arrow_schema().names)
    there = [name for name in names if name in known]
    as_dictionaries = [name for name in dictionaries if name in known]
    with pq.ParquetFile(path, metadata=metadata, read_dictionary=as_dictionaries) as file:
        groups = range(file.num_row_groups) if group is None else (group,)
        table = file.read_row_groups(groups, there, use_threads=False)
    for name in names:
        if name not in known:
            kind = wanted.field(name).type
            kind = pa.dictionary(pa.int32(), kind) if name in dictionaries else kind
            table = table.append_column(name, pa.nulls(len(table), kind))
    return table.select(names)


def is_sound(archive: Archive, part: Part) -> bool:
    """Whether a part is what the manifest says, as far as size and footer tell; if not, it is noted."""
    try:
        path = archive.fetch(part)
        size = os.stat(path).st_size
        if size == part.bytes and pq.read_metadata(path).num_rows == part.rows:
            return True
        archive.note(archive.shown(part), f"damaged: {size} bytes, where the manifest says {part.bytes}")
    except (OSError, pa.ArrowException) as error:
        archive.note(archive.shown(part), error)
    return False


def _digest(path: Path) -> tuple[int, str]:
    found, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while block := file.read(_READ):
            found.update(block)
            size += len(block)
    return size, found.hexdigest()
