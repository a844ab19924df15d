"""Parts back to segments: events of the archive as the journal gives them.

    journal = Journal(directory, archived=ArchivedSegments(Archive(directory)))
    for event in journal.events(wanted): ...     # of the archive and of the journal, in one order

The events that a process has in a batch become one segment in memory, with the strings and stacks that the
batch has for them; so whatever reads the journal reads the archive. A batch's row groups are read as they are
needed and the last ones kept: processes stand one after the other in them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pythonaudit.archive import schema
from pythonaudit.archive.covered import Covered
from pythonaudit.archive.manifest import Archive, Entry, Part
from pythonaudit.archive.parts import read_part
from pythonaudit.archive.segments import build_header
from pythonaudit.journal import layout
from pythonaudit.journal.attribution import Attribution
from pythonaudit.journal.chunks import Header
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.merge import Source
from pythonaudit.journal.packages import Package
from pythonaudit.journal.process import Process, build_process
from pythonaudit.journal.segment import Column, Events, Segment
from pythonaudit.journal.survey import Recorded

_KEPT_GROUPS = 4
_KEPT_BATCHES = 4
_COLUMNS = ["time", "nanosecond", "event", "source", "args", "slot", "number", "tid", "interpreter", "stack"]
_COLUMNS += ["package", "version", "context", "thread", "notes"]
_DICTIONARIES = ["event", "source", "process", "package", "version", "context", "thread"]
_SOURCES = {name: number for number, name in layout.SOURCES.items()}
_NOTES = {name: 1 << bit for bit, name in enumerate(layout.NOTES)}

Row = Mapping[str, Any]


class ArchivedSegments:
    """What the archive adds to a journal.

    Args:
        archive: what is damaged in it is noted there.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._covered = Covered(archive)
        self._entries = archive.entries()
        self._group = lru_cache(_KEPT_GROUPS)(self._read_group)
        self._stacks = lru_cache(_KEPT_BATCHES)(self._read_stacks)
        self._runs = lru_cache(_KEPT_BATCHES)(self._find_runs)

    def has(self, header: Header) -> bool:
        """Whether all events of a segment are in the archive."""
        return self._covered.has(header)

    def segments(self) -> Iterator[tuple[str, int, int]]:
        """Process, `sequence` and `drained` of each segment that is in the archive."""
        return self._covered.segments()

    def recorded(self) -> Iterator[Recorded]:
        """What each segment says of its process, and what was counted or lost."""
        for _, rows in self._rows():
            for row in rows:
                header, process = _describe(row)
                yield Recorded(
                    process=process,
                    begin_ns=row["begin_ns"],
                    end_ns=row["end_ns"],
                    ended=header.state == layout.STATE_CLEAN_END,
                    events=row["events"],
                    counts=tuple((one["event"], one["source"], one["count"]) for one in row["counts"]),
                    losses=row["losses"],
                )

    def sources(self, wanted: EventFilter) -> list[Source]:
        """The segments that can hold a wanted event: one for each process of a batch."""
        found = []
        for entry, rows in self._rows():
            of_process: dict[str, list[Row]] = defaultdict(list)
            for row in rows:
                if row["events"]:
                    of_process[row["process"]].append(row)
            for rows in of_process.values():
                source = self._source(entry, rows, wanted)
                if source is not None:
                    found.append(source)
        return found

    def _source(self, entry: Entry, rows: list[Row], wanted: EventFilter) -> Source | None:
        header, process = _describe(rows[-1])
        begin_ns = min(row["begin_ns"] for row in rows)
        end_ns = max(row["end_ns"] for row in rows)
        if wanted.until_ns is not None and begin_ns >= wanted.until_ns:
            return None
        if wanted.since_ns is not None and end_ns < wanted.since_ns:
            return None
        if not wanted.wants_process(process):
            return None
        load = partial(self._load, entry, header, rows[-1])
        return Source(begin_ns, header.process, rows[0]["sequence"], end_ns, load, wanted.mask)

    def _rows(self) -> Iterator[tuple[Entry, list[Row]]]:
        """The rows of the table `segments`, by batch."""
        for entry in self._entries:
            for part in entry.of("segments"):
                try:
                    rows = read_part(self.archive, part).to_pylist()
                    yield entry, [_parsed(row) for row in rows]
                except (OSError, pa.ArrowException, ValueError) as error:
                    self.archive.note(self.archive.path(part), error)

    def _load(self, entry: Entry, header: Header, row: Row) -> SegmentDecoder | None:
        """The events of a process in a batch, of all days; None if there are none that can be read."""
        tables = []
        for part in entry.of("events"):
            try:
                first, last = self._runs(part).get(row["process"], (0, 0))
                for group in range(first, last):
                    table = self._group(part, group)
                    tables.append(table.filter(pc.equal(table["process"], row["process"])))
            except (OSError, pa.ArrowException) as error:
                self.archive.note(self.archive.path(part), error)
        if not tables:
            return None
        table = pa.concat_tables(tables).unify_dictionaries()
        segment = _build_segment(header, row, table, self._stacks(entry))
        return SegmentDecoder(segment, row["uid"], attribution=_attribution(table))

    def _find_runs(self, part: Part) -> dict[str, tuple[int, int]]:
        """The row groups of a part in which a process stands: the first, and the first behind."""
        file = pq.ParquetFile(self.archive.path(part))
        found: dict[str, tuple[int, int]] = {}
        for group in range(file.num_row_groups):
            for process in file.read_row_group(group, ["process"])["process"].unique().to_pylist():
                found[process] = (found.get(process, (group,))[0], group + 1)
        return found

    def _read_group(self, part: Part, group: int) -> pa.Table:
        path = self.archive.path(part)
        there = pq.read_schema(path).names
        file = pq.ParquetFile(path, read_dictionary=[name for name in _DICTIONARIES if name in there])
        table = file.read_row_group(group, [name for name in [*_COLUMNS, "process"] if name in there])
        for name in _COLUMNS:  # of an earlier version
            if name not in there:
                kind = schema.EVENTS.field(name).type
                kind = pa.dictionary(pa.int32(), kind) if name in _DICTIONARIES else kind
                table = table.append_column(name, pa.nulls(len(table), kind))
        return table

    def _read_stacks(self, entry: Entry) -> _Stacks:
        parts = entry.of("stacks")
        try:
            tables = [read_part(self.archive, part) for part in parts]
        except (OSError, pa.ArrowException) as error:
            self.archive.note(self.archive.path(parts[0]), error)
            tables = []
        return _Stacks(tables[0] if tables else None)


class _Stacks:
    """The stacks of a batch in the shape that segments have: nodes, codes, strings."""

    def __init__(self, table: pa.Table | None) -> None:
        self.texts: list[str] = [""]
        self.file = self.function = self.library = np.zeros(1, np.uint32)
        self.parent = self.code = self.line = np.zeros(1, np.uint32)
        if table is None or not len(table):
            return
        file, function = (table[name].combine_chunks().dictionary_encode() for name in ("file", "function"))
        of_file, of_function = (
            column.indices.fill_null(-1).to_numpy().astype(np.int64) + 1 for column in (file, function)
        )
        library = table["library"].to_numpy(zero_copy_only=False).astype(np.int64)
        functions = len(function.dictionary) + 1
        codes, which = np.unique((of_file * functions + of_function) * 2 + library, return_inverse=True)
        # Ids of strings: first the files, then the functions; 0 is none.
        self.texts += file.dictionary.to_pylist() + function.dictionary.to_pylist()
        name = codes // 2 % functions
        self.file = np.append(0, codes // 2 // functions).astype(np.uint32)
        self.function = np.append(0, np.where(name > 0, name + len(file.dictionary), 0)).astype(np.uint32)
        self.library = np.append(False, codes % 2 == 1)
        self.code = np.append(0, which + 1).astype(np.uint32)
        self.parent, self.line = (
            np.append(0, table[name].fill_null(0).to_numpy()).astype(np.uint32) for name in ("parent", "line")
        )
        self.parent[self.parent >= np.arange(len(self.parent))] = 0


def _build_segment(header: Header, row: Row, table: pa.Table, stacks: _Stacks) -> Segment:
    event = table["event"].combine_chunks()
    texts = list(stacks.texts)
    name = _add_texts(texts, event)
    context = _add_texts(texts, table["context"].combine_chunks())
    thread = _add_texts(texts, table["thread"].combine_chunks())
    known, which = np.unique(np.append(0, context), return_inverse=True)
    args = table["args"].combine_chunks().cast(pa.large_string())
    data, start, length = _bytes_of(args)
    stack = table["stack"].fill_null(0).to_numpy().astype(np.uint32)
    stack[stack >= len(stacks.parent)] = 0
    numbers = {
        column: table[column].to_numpy().astype(np.uint64) for column in ("slot", "number", "tid", "interpreter")
    }
    return Segment(
        header=header,
        data=data,
        string_start=np.zeros(len(texts), np.int64),
        string_length=np.zeros(len(texts), np.int64),
        code_file=stacks.file,
        code_function=stacks.function,
        code_library=stacks.library,
        node_parent=stacks.parent,
        node_code=stacks.code,
        node_line=stacks.line,
        events=Events(
            time=table["time"].cast(pa.int64()).to_numpy() * 1000 + table["nanosecond"].to_numpy(),
            source=_numbers_of(table["source"], _SOURCES),
            notes=_notes_of(table["notes"]),
            name=name,
            inline=np.zeros(len(table), np.int64),
            stack=stack,
            start=start,
            length=length,
            context=which[1:],
            thread=thread,
            **numbers,
        ),
        contexts=[(number, b"", b"") for number in known.tolist()],
        counts=[],
        attributes=[row["attributes"].encode()],
        positions={},
        damage=[],
        _texts=dict(enumerate(texts)),
    )


def _add_texts(texts: list[str], column: pa.DictionaryArray) -> Column:
    """Adds the texts of a column to a table of strings; the id of each row's, 0 for null."""
    first = len(texts)
    texts += column.dictionary.to_pylist()
    absent = column.is_null().to_numpy(zero_copy_only=False)
    ids = column.indices.fill_null(0).to_numpy().astype(np.int64) + first
    return np.where(absent, 0, ids).astype(np.uint32)


def _attribution(table: pa.Table) -> Attribution:
    """The packages of events, as they were found when these were archived."""
    name, version = (table[column].combine_chunks() for column in ("package", "version"))
    names, versions = ([None, *column.dictionary.to_pylist()] for column in (name, version))
    which, of_version = (column.indices.fill_null(-1).to_numpy() + 1 for column in (name, version))
    pairs, rows = np.unique(np.append(0, which.astype(np.int64) * len(versions) + of_version), return_inverse=True)
    packages = [
        Package(names[pair // len(versions)], versions[pair % len(versions)]) if pair // len(versions) else None
        for pair in pairs.tolist()
    ]
    return Attribution(packages, rows[1:], np.zeros(0, np.int32))


def _bytes_of(column: pa.Array) -> tuple[bytes, Column, Column]:
    """Bytes of a column of text, and where each row starts and how long it is."""
    _, offsets, data = column.buffers()
    places = np.frombuffer(offsets, np.int64, len(column) + 1, column.offset * 8)
    return bytes(data) if data is not None else b"", places[:-1], np.diff(places)


def _numbers_of(column: pa.ChunkedArray, numbers: Mapping[str, int]) -> Column:
    found = column.combine_chunks()
    by_index = np.array([numbers.get(text, 0) for text in found.dictionary.to_pylist()] + [0], np.uint8)
    numbered: Column = by_index[found.indices.fill_null(len(by_index) - 1).to_numpy()]
    return numbered


def _notes_of(column: pa.ChunkedArray) -> Column:
    bits = np.zeros(len(column), np.uint16)
    if column.null_count < len(column):
        noted = np.flatnonzero(column.is_valid().to_numpy())
        for at, names in zip(noted.tolist(), column.take(pa.array(noted)).to_pylist(), strict=True):
            bits[at] = sum(_NOTES.get(name, 0) for name in names)
    return bits


def _parsed(row: dict[str, Any]) -> Row:
    return row | {
        "counts": json.loads(row["counts"] or "[]"),
        "losses": json.loads(row["losses"] or "{}"),
    }


def _describe(row: Row) -> tuple[Header, Process]:
    header = build_header(row)
    return header, build_process(header, (row["attributes"].encode(),), row["uid"])
