"""A DuckDB connection that sees the archive and the journal as one set of views, and nothing else.

    with connect(journal) as connection:
        connection.execute("SELECT event, count(*) FROM events GROUP BY event")

The views are those of views/*.sql; docs/reference/views.md describes them. Every event is there from the moment
it is committed. The connection reads the parts that the manifest names, and no other file; it writes nothing,
loads no extension and takes no more memory than `MEMORY`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pythonaudit.archive import schema
from pythonaudit.archive.manifest import Archive, Entry, Part
from pythonaudit.archive.parts import is_sound, read_part
from pythonaudit.archive.reader import ArchivedSegments
from pythonaudit.errors import UsageError
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal
from pythonaudit.query import functions
from pythonaudit.query.interrupts import watch
from pythonaudit.query.live import PREFIX, LiveTables
from pythonaudit.query.where import literal

Connection = duckdb.DuckDBPyConnection

VIEWS = ("events", "stacks", "processes", "segments", "counts", "losses")
MEMORY = "1GB"

_CLOSED = (
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET python_enable_replacements = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)
_KEPT_BATCHES = 16
_REST = re.compile(r"\n\nLINE|\s+Candidate functions:|\s+Possible solutions:")
_PREFIX = re.compile(r"^\w+ Error: ")
_EVERYTHING = EventFilter()
_NOTHING: Mapping[str, SegmentDecoder] = {}


def connect(
    journal: Journal, wanted: EventFilter = _EVERYTHING, at_hand: Mapping[str, SegmentDecoder] = _NOTHING
) -> Connection:
    """A connection with all views.

    Args:
        journal: with its archive; what is damaged in either is noted there, and left out.
        wanted: parts and segments that cannot hold a wanted event are left out. It is no filter of rows, but
            for the process `without`, which is in no view.
        at_hand: segments whose stacks need not be looked for, by batch; whoever gives it can change it.

    Raises:
        StoreError: there is neither journal nor archive, or one may not be read.
    """
    live = LiveTables(journal, wanted)
    archived = journal.archived if isinstance(journal.archived, ArchivedSegments) else None
    # As of the moment when the journal was listed: what moves from now on is found by those who read the journal.
    entries = archived.entries() if archived else []
    archive = archived.archive if archived else Archive(journal.directory)
    connection = _open()
    named = [part for entry in entries for part in entry.parts if _can_hold(entry, part, wanted)]
    archive.fetch_all(named)
    sound = [part for part in named if is_sound(archive, part)]
    parts = {table: [archive.path(part) for part in sound if part.table == table] for table in schema.TABLES}
    _allow(connection, [path for paths in parts.values() for path in paths])
    is_archived = any(process == wanted.without for (process, *_), _ in archived.known()) if archived else False
    for table, columns in schema.TABLES.items():
        without = wanted.without if is_archived and "process" in columns.names else ""
        _create_base(connection, table, columns, parts[table], getattr(live, table), without)
    _create_functions(connection, _frames(archive, entries, live, at_hand))
    for statement in _CLOSED[:-1]:
        connection.execute(statement)
    for view in VIEWS:
        connection.execute(resources.files(__package__).joinpath(f"views/{view}.sql").read_text("utf-8"))
    connection.execute(_CLOSED[-1])
    return connection


def open_scratch(
    tables: Mapping[str, pa.Table], find: Callable[[str], functions.Frames] = lambda batch: functions.NO_FRAMES
) -> Connection:
    """A connection that sees tables at hand and nothing else; it can make further ones, in memory.

    Args:
        tables: by name.
        find: what finds the stacks of a batch.
    """
    connection = _open()
    for name, table in tables.items():
        connection.register(name, table)
    _create_functions(connection, find)
    for statement in _CLOSED:
        connection.execute(statement)
    return connection


def open_second(connection: Connection) -> Connection:
    """Another connection with the same functions and views, for what is asked while the first one is being read."""
    second = connection.cursor()
    watch(second)
    return second


def _open() -> Connection:
    connection = duckdb.connect(":memory:")
    watch(connection)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET memory_limit = '{MEMORY}'")
    return connection


def check_condition(connection: Connection, where: str) -> None:
    """Looks at what a user wrote after `--where`.

    Args:
        connection: one of `connect`.
        where: a condition on the view `events`.

    Raises:
        UsageError: it is not one condition in valid SQL.
    """
    try:
        if not where.strip():
            raise duckdb.ParserException("a condition is missing")
        statements = connection.extract_statements(f"EXPLAIN SELECT id FROM events WHERE (\n{where}\n)")
        if len(statements) != 1:
            raise UsageError("--where takes one condition, not several statements")
        connection.execute(statements[0])
    except duckdb.Error as error:
        columns = ", ".join(name for name, *_ in connection.execute("FROM events LIMIT 0").description)
        raise UsageError(f"--where: {first_words(error)}", hint=f"columns: {columns}") from None


def first_words(error: Exception) -> str:
    """What is wrong, in one line; what follows are all the functions of that name, or a caret below the place."""
    text = _REST.split(str(error), maxsplit=1)[0]
    return _PREFIX.sub("", " ".join(text.split()))


def _can_hold(entry: Entry, part: Part, wanted: EventFilter) -> bool:
    """Whether a part can hold wanted events, or their stacks."""
    if part.table == "stacks":
        return any(_can_hold(entry, events, wanted) for events in entry.of("events"))
    if part.begin_ns is None or part.end_ns is None:
        return True
    if wanted.hosts and not any(fnmatchcase(part.host or "", glob) for glob in wanted.hosts):
        return False
    return (wanted.until_ns is None or part.begin_ns < wanted.until_ns) and (
        wanted.since_ns is None or part.end_ns >= wanted.since_ns
    )


def _allow(connection: Connection, paths: list[Path]) -> None:
    connection.execute(f"SET allowed_paths = [{', '.join(literal(str(path)) for path in paths)}]")


def _create_base(
    connection: Connection, table: str, columns: pa.Schema, paths: list[Path], live: object, without: str
) -> None:
    """The view `all_…` of one table: parts and journal. `without`: a process whose rows of the parts are left out."""
    connection.register(f"live_{table}", live)
    names = ", ".join(f'"{name}"' for name in columns.names)
    query = f"SELECT {names} FROM live_{table}"
    if paths:
        files = ", ".join(literal(str(path)) for path in paths)
        read = f"read_parquet([{files}], hive_partitioning = false, union_by_name = true)"
        there = {name for (name, *_) in connection.execute(f"DESCRIBE FROM {read}").fetchall()}
        kinds = {name: kind for (name, kind, *_) in connection.execute(f"DESCRIBE {query}").fetchall()}
        # An archive of an earlier version can lack columns.
        found = ", ".join(
            f'"{name}"' if name in there else f'NULL::{kind} AS "{name}"' for name, kind in kinds.items()
        )
        those = f" WHERE process <> {literal(without)}" if without else ""
        query = f"SELECT {found} FROM {read}{those} UNION ALL {query}"
    connection.execute(f"CREATE VIEW all_{table} AS {query}")


def _frames(
    archive: Archive, entries: list[Entry], live: LiveTables, at_hand: Mapping[str, SegmentDecoder]
) -> Callable[[str], functions.Frames]:
    """What finds the stacks of a batch."""
    by_batch = {entry.batch: entry for entry in entries}

    def find(batch: str) -> functions.Frames:
        decoder = at_hand.get(batch)
        return functions.SegmentFrames(decoder) if decoder else load(batch)

    @lru_cache(_KEPT_BATCHES)
    def load(batch: str) -> functions.Frames:
        if batch.startswith(PREFIX):
            decoder = live.decoder(batch)
            return functions.SegmentFrames(decoder) if decoder else functions.NO_FRAMES
        try:
            parts = by_batch[batch].of("stacks") if batch in by_batch else []
            tables = [read_part(archive, part) for part in parts]
        except (OSError, pa.ArrowException):
            tables = []
        return functions.TableFrames(tables[0]) if tables else functions.NO_FRAMES

    return find


def _create_functions(connection: Connection, find: Callable[[str], functions.Frames]) -> None:
    text, number = duckdb.sqltype("VARCHAR"), duckdb.sqltype("BIGINT")
    texts, truth = duckdb.sqltype("VARCHAR[]"), duckdb.sqltype("BOOLEAN")
    made: list[tuple[str, Callable[..., Any], list[Any], Any]] = [
        ("resolve_path", functions.resolve_path, [text, text], text),
        ("has_path", functions.has_path, [text, text, text, text], truth),
        ("event_fields", functions.event_fields, [text, text, text], text),
        ("stack_frames", functions.stack_frames(find), [text, number], text),
        ("in_network", functions.in_network, [text, text], truth),
        ("child_images", functions.child_images, [text, text], texts),
        ("child_commands", functions.child_commands, [text, text], texts),
    ]
    for name, function, parameters, result in made:
        # Words, not enumerations: these have moved between versions of DuckDB.
        connection.create_function(name, function, parameters, result, type="arrow", null_handling="special")  # type: ignore[call-overload]
