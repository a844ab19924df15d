"""Parts back to segments: what one batch holds, in the shape that the journal's segments have.

The events of a segment stand one after the other in a part (of each day one), so they are a slice of it; a
batch's row groups are read as they are needed and the last ones kept. Strings and stacks are those of the
batch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pythonaudit.archive import schema
from pythonaudit.archive.manifest import Archive, Entry, Part
from pythonaudit.archive.numbers import flags, numbers
from pythonaudit.archive.parts import read_part
from pythonaudit.archive.segments import build_header
from pythonaudit.journal import layout
from pythonaudit.journal.attribution import Attribution
from pythonaudit.journal.chunks import Header
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.packages import Package
from pythonaudit.journal.process import Process, build_process
from pythonaudit.journal.reader import Key
from pythonaudit.journal.segment import Column, Count, Events, Segment
from pythonaudit.journal.survey import Recorded

_KEPT_GROUPS = 4
_KEY = ["process", "sequence", "uid"]
_DICTIONARIES = ("event", "source", "package", "version", "context", "thread")
_COLUMNS = (
    *("time", "nanosecond", "args", "slot", "number", "tid", "interpreter", "stack", "notes"),
    *_DICTIONARIES,
)
_FRAME = ("parent", "file", "line", "function", "library")
_SOURCES = {name: number for number, name in layout.SOURCES.items()}
_NOTES = {name: 1 << bit for bit, name in enumerate(layout.NOTES)}

_DICTIONARY = pa.dictionary(pa.int32(), pa.string())
_NO_EVENTS = pa.schema(
    [(name, _DICTIONARY if name in _DICTIONARIES else schema.EVENTS.field(name).type) for name in _COLUMNS]
).empty_table()
_NO_STACKS = pa.schema(
    [(name, _DICTIONARY if name in ("file", "function") else schema.STACKS.field(name).type) for name in _FRAME]
).empty_table()

Row = Mapping[str, Any]


class Run(NamedTuple):
    """Rows of a segment: in which row group, from which to before which."""

    group: int
    first: int
    end: int


def read_segments(
    archive: Archive, entry: Entry, columns: Sequence[str] = schema.SEGMENTS.names
) -> pa.Table | None:
    """Columns of the table `segments` of a batch; what cannot be read of them is noted. None: it has gone."""
    tables = [schema.SEGMENTS.empty_table().select(columns)]
    for part in entry.of("segments"):
        try:
            tables.append(read_part(archive, part, columns))
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException) as error:
            archive.note(archive.shown(part), error)
    return pa.concat_tables(tables)


def describe(row: Row) -> tuple[Header, Process]:
    """Header and process of a segment."""
    header = build_header(row, json.loads(row["losses"] or "{}"))
    process = build_process(header, (row["attributes"].encode(),), row["uid"])
    return header, replace(process, user=row["user"])


def recorded_of(row: Row) -> Recorded:
    """What a segment says, but for its events."""
    header, process = describe(row)
    return Recorded(
        header=header,
        process=process,
        begin_ns=row["begin_ns"],
        end_ns=row["end_ns"],
        ended=header.state == layout.STATE_CLEAN_END,
        events=row["events"],
        counts=tuple((one["event"], one["source"], one["count"]) for one in _counts(row)),
        losses=json.loads(row["losses"] or "{}"),
    )


class Batch:
    """One batch.

    Args:
        archive: what is damaged in it is noted there.
        entry: of the batch.
        segments: its rows of the table `segments`.
        is_torn: a part that is not there is damage; else, a sign that the batch has been put together with others.
    """

    def __init__(self, archive: Archive, entry: Entry, segments: pa.Table, is_torn: bool = False) -> None:
        self._archive, self._entry, self._segments, self._is_torn = archive, entry, segments, is_torn
        self._group = lru_cache(_KEPT_GROUPS)(self._read_group)

    def load(self, number: int) -> SegmentDecoder | None:
        """A segment, by the number of its row; None if nothing of it can be read (noted).

        Raises:
            FileNotFoundError: a part has gone.
        """
        row: Row = self._segments.slice(number, 1).to_pylist()[0]
        header, process = describe(row)
        tables = []
        for part, runs in self._runs.items() if row["events"] else ():
            for run in runs.get((row["process"], row["sequence"], row["uid"]), ()):
                try:
                    tables.append(self._group(part, run.group).slice(run.first, run.end - run.first))
                except (OSError, pa.ArrowException) as error:
                    self._note(part, error)
        if row["events"] and not tables:
            return None
        table = pa.concat_tables([_NO_EVENTS, *tables]).unify_dictionaries()
        if len(table) != row["events"]:
            missing = row["events"] - len(table)
            self._archive.note(self._entry.batch, f"{missing} events of {row['file']} are not there")
        segment = _build_segment(header, row, table, self._stacks)
        decoder = SegmentDecoder(segment, row["uid"], attribution=_attribution(table))
        decoder.process, decoder.batch = process, self._entry.batch
        return decoder

    @cached_property
    def _runs(self) -> dict[Part, dict[Key, list[Run]]]:
        """Where the events of each segment are."""
        return {part: self._find_runs(part) for part in self._entry.of("events")}

    def _find_runs(self, part: Part) -> dict[Key, list[Run]]:
        found: dict[Key, list[Run]] = {}
        try:
            file = pq.ParquetFile(self._archive.fetch(part), read_dictionary=["process"])
            for group in range(file.num_row_groups):
                keys = file.read_row_group(group, _KEY, use_threads=False).combine_chunks()
                process = keys["process"].chunk(0)
                sequence, uid = keys["sequence"].to_numpy(), keys["uid"].to_numpy()
                which = process.indices.to_numpy()
                changes = (which[1:] != which[:-1]) | (sequence[1:] != sequence[:-1]) | (uid[1:] != uid[:-1])
                bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(keys)]
                for first, end in pairwise(bounds):
                    key = process[first].as_py(), int(sequence[first]), int(uid[first])
                    found.setdefault(key, []).append(Run(group, first, end))
        except (OSError, pa.ArrowException) as error:
            self._note(part, error)
        return found

    def _read_group(self, part: Part, group: int) -> pa.Table:
        return read_part(self._archive, part, _COLUMNS, dictionaries=_DICTIONARIES, group=group)

    @cached_property
    def _stacks(self) -> _Stacks:
        tables = [_NO_STACKS]
        for part in self._entry.of("stacks"):
            try:
                tables.append(read_part(self._archive, part, _FRAME, dictionaries=("file", "function")))
            except (OSError, pa.ArrowException) as error:
                self._note(part, error)
        return _Stacks(pa.concat_tables(tables).unify_dictionaries())

    def _note(self, part: Part, error: Exception) -> None:
        if not isinstance(error, FileNotFoundError):
            self._archive.note(self._archive.shown(part), error)
        elif self._is_torn:
            self._archive.note(self._archive.shown(part), "not there")
        else:
            raise error


class _Stacks:
    """The stacks of a batch in the shape that segments have: nodes, codes, strings."""

    def __init__(self, table: pa.Table) -> None:
        self.texts: list[str] = [""]
        self.file = self.function = self.library = np.zeros(1, np.uint32)
        self.parent = self.code = self.line = np.zeros(1, np.uint32)
        if not len(table):
            return
        file, function = (table[name].combine_chunks() for name in ("file", "function"))
        of_file, of_function = (numbers(column.indices, -1).astype(np.int64) + 1 for column in (file, function))
        library = flags(table["library"]).astype(np.int64)
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
            np.append(0, numbers(table[name])).astype(np.uint32) for name in ("parent", "line")
        )
        self.parent[self.parent >= np.arange(len(self.parent))] = 0


def _build_segment(header: Header, row: Row, table: pa.Table, stacks: _Stacks) -> Segment:
    counted = _counts(row)
    texts = list(stacks.texts)
    name, context, thread = (
        _add_texts(texts, table[column].combine_chunks()) for column in ("event", "context", "thread")
    )
    contexts, of_context = np.unique(np.append(0, context), return_inverse=True)
    first = len(texts)
    texts += [one["event"] for one in counted]
    data, start, length = _bytes_of(table["args"].combine_chunks())
    stack = numbers(table["stack"]).astype(np.uint32)
    stack[stack >= len(stacks.parent)] = 0
    ids = {column: numbers(table[column]).astype(np.uint64) for column in ("slot", "number", "tid", "interpreter")}
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
            time=numbers(table["time"]) * 1000 + numbers(table["nanosecond"]),
            source=_numbers_of(table["source"], _SOURCES),
            notes=_notes_of(table["notes"]),
            name=name,
            inline=np.zeros(len(table), np.int64),
            stack=stack,
            start=start,
            length=length,
            context=of_context[1:],
            thread=thread,
            **ids,
        ),
        contexts=[(number, b"", b"") for number in contexts.tolist()],
        counts=[Count(first + at, _SOURCES.get(one["source"], 0), one["count"]) for at, one in enumerate(counted)],
        attributes=[row["attributes"].encode()],
        positions={},
        damage=[],
        _texts=dict(enumerate(texts)),
    )


def _bytes_of(column: pa.StringArray) -> tuple[bytes, Column, Column]:
    """Bytes of a column of text, and where each row starts and how long it is."""
    _, offsets, data = column.buffers()
    places = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4).astype(np.int64)
    return bytes(data) if data is not None else b"", places[:-1], np.diff(places)


def _numbers_of(column: pa.ChunkedArray, known: Mapping[str, int]) -> Column:
    found = column.combine_chunks()
    by_index = np.array([known.get(text, 0) for text in found.dictionary.to_pylist()] + [0], np.uint8)
    numbered: Column = by_index[numbers(found.indices, len(by_index) - 1)]
    return numbered


def _notes_of(column: pa.ChunkedArray) -> Column:
    if column.null_count == len(column):
        return np.zeros(len(column), np.uint16)
    lists = column.combine_chunks()
    places = np.frombuffer(lists.buffers()[1], np.int32, len(lists) + 1, lists.offset * 4)
    bits = np.cumsum([0, *(_NOTES.get(name, 0) for name in lists.values.to_pylist())])
    return np.diff(bits[places]).astype(np.uint16)


def _add_texts(texts: list[str], column: pa.DictionaryArray) -> Column:
    """Adds the texts of a column to a table of strings; the id of each row's, 0 for null."""
    first = len(texts)
    texts += column.dictionary.to_pylist()
    return (numbers(column.indices, -first).astype(np.int64) + first).astype(np.uint32)


def _attribution(table: pa.Table) -> Attribution:
    """The packages of events, as they were found when these were archived."""
    name, version = (table[column].combine_chunks() for column in ("package", "version"))
    names, versions = ([None, *column.dictionary.to_pylist()] for column in (name, version))
    which, of_version = (numbers(column.indices, -1) + 1 for column in (name, version))
    pairs, rows = np.unique(np.append(0, which.astype(np.int64) * len(versions) + of_version), return_inverse=True)
    packages = [
        Package(names[pair // len(versions)], versions[pair % len(versions)]) if pair // len(versions) else None
        for pair in pairs.tolist()
    ]
    return Attribution(packages, rows[1:], np.zeros(0, np.int32))


def _counts(row: Row) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(row["counts"] or "[]")
    return found
