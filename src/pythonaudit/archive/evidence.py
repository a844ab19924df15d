"""One batch, or one segment of the journal, held against what is sealed of it: the work of one processor at a time.

A batch's files are hashed first, and only those are read that are what the log says: nothing that somebody put in
their place is parsed. Events are hashed a row group at a time, and forgotten when their segment is complete.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pythonaudit.archive import leaves, schema
from pythonaudit.archive.leaves import Leaves
from pythonaudit.archive.manifest import Archive, Part, is_part_path
from pythonaudit.archive.parts import read_part
from pythonaudit.archive.segments import build_row
from pythonaudit.errors import StoreError
from pythonaudit.integrity.account import SealedEvents, SealedPart
from pythonaudit.integrity.merkle import find_root
from pythonaudit.integrity.state import Key
from pythonaudit.integrity.verdicts import Finding, incomplete, tampered
from pythonaudit.journal.reader import Journal, SegmentHead
from pythonaudit.journal.segment import Column

_READ = 1 << 20
# What a file can raise that was forged, and then signed.
_UNSOUND = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is sealed of a segment.

    Attributes:
        sequence: of the segment.
        events: the records of its events.
        count: how many events these are.
        row: what its row in the archive hashes to; None: no record says.
    """

    sequence: int
    events: tuple[SealedEvents, ...]
    count: int
    row: str | None = None


class Source(Protocol):
    """Has files of an archive that are not here. Other processes get it."""

    def holding(self, parts: Sequence[SealedPart]) -> AbstractContextManager[Path]:
        """A directory that has these parts in its archive, as long as it is needed; those that are there, as they are."""


@dataclass(frozen=True, slots=True)
class BatchTask:
    """A batch to be checked.

    Attributes:
        directory: that of `PYTHONAUDIT_DIR`.
        name: of the batch.
        parts: its files.
        segments: those that it has to hold.
        is_loose: it holds further ones, of which no record says anything.
        source: where its files are, if not in the directory.
    """

    directory: Path
    name: str
    parts: tuple[SealedPart, ...]
    segments: Mapping[Key, Wanted]
    is_loose: bool
    source: Source | None = None


@dataclass(slots=True)
class BatchResult:
    """What a batch is.

    Attributes:
        parts: what is wrong with each part; those with which nothing is are not here.
        gone: parts that are not there.
        segments: the same for the segments.
        findings: what is in it and should not be.
    """

    parts: dict[str, list[Finding]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    segments: dict[Key, list[Finding]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SegmentTask:
    """A segment of the journal to be checked.

    Attributes:
        directory: that of `PYTHONAUDIT_DIR`.
        head: of the segment.
        wanted: what is sealed of it; None: nothing, its events are counted only.
    """

    directory: Path
    head: SegmentHead
    wanted: Wanted | None


@dataclass(slots=True)
class SegmentResult:
    """What a segment of the journal is.

    Attributes:
        is_there: whether it could be read.
        findings: what is wrong with it, or why it cannot be read.
        unsealed: how many of its events are not sealed yet.
    """

    is_there: bool
    findings: list[Finding] = field(default_factory=list)
    unsealed: int = 0


def check_batch(task: BatchTask) -> BatchResult:
    """Holds a batch against its records.

    Raises:
        StoreError: a file may not be read.
    """
    if task.source is None:
        return _BatchCheck(task).run()
    with task.source.holding(task.parts) as directory:
        return _BatchCheck(replace(task, directory=directory)).run()


def check_segment(task: SegmentTask) -> SegmentResult:
    """Holds a segment of the journal against its records."""
    journal = Journal(task.directory)
    decoder = journal.load(task.head)
    if decoder is None:
        return SegmentResult(False, [incomplete(f"{one.path}: {one.reason}") for one in journal.damage()])
    if task.wanted is None:
        return SegmentResult(True, unsealed=len(decoder.segment.events))
    found = leaves.of_segment(decoder)
    identity = leaves.hash_identity(build_row(decoder, "", "", []))
    findings, matched = compare(found, task.wanted, identity)
    if findings:
        findings += [incomplete(f"{one.path.name}: {one.reason}") for one in journal.damage() if one.path]
    return SegmentResult(True, findings, len(found.hashes) - matched)


def compare(found: Leaves, wanted: Wanted, identity: str | None) -> tuple[list[Finding], int]:
    """Holds the events of a segment against the records of them.

    Args:
        found: its events, in order.
        wanted: the records.
        identity: hash of whose it is; None: not known.

    Returns:
        What is wrong; and how many events the records are about that are there.
    """
    findings, matched = [], 0
    for record in wanted.events:
        hashes: list[bytes] = []
        for slot, first, count in record.runs:
            hashes += _take(found, slot, first, count)
        matched += len(hashes)
        named = f"segment {wanted.sequence}, {_span(record)} (record {record.number:,})"
        if len(hashes) < record.count:
            findings.append(
                incomplete(f"{named}: {record.count - len(hashes):,} of {record.count:,} are not there")
            )
        elif find_root(hashes).hex() != record.root:
            findings.append(tampered(f"{named}: not what was sealed"))
        if identity is not None and identity != record.identity:
            findings.append(tampered(f"{named}: of another process than was sealed"))
    return findings, matched


def _span(record: SealedEvents) -> str:
    first, last = record.runs[0], record.runs[-1]
    return f"events {first[0]}/{first[1]} to {last[0]}/{last[1] + last[2] - 1}"


def _take(found: Leaves, slot: int, first: int, count: int) -> list[bytes]:
    """The hashes of a run, as far as it is there."""
    begin, end = np.searchsorted(found.slot, [slot, slot + 1]).tolist()
    numbers = found.number[begin:end]
    low = begin + int(np.searchsorted(numbers, np.uint64(first)))
    high = begin + int(np.searchsorted(numbers, np.uint64(first + count - 1), "right"))
    return found.hashes[low:high]


def find_problem(archive: Archive, part: SealedPart) -> Finding | None:
    """Why a part is not the file that was sealed; None: it is.

    Raises:
        FileNotFoundError: it is not there.
        StoreError: it may not be read.
    """
    if not is_part_path(part.path):
        return tampered("no part can have this path")
    path = archive.root.joinpath(*part.path.split("/"))
    digest, size = hashlib.sha256(), 0
    try:
        if os.path.lexists(path) and not os.path.isfile(path):
            return tampered("no file stands in its place")
        with open(path, "rb", buffering=0) as file:
            while block := file.read(_READ):
                digest.update(block)
                size += len(block)
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise StoreError(f"{path}: {error.strerror}", hint="run it as the directory's owner") from None
    except OSError as error:
        return incomplete(f"cannot be read: {error.strerror}")
    if size != part.bytes:
        return tampered(f"{size:,} bytes, where {part.bytes:,} were sealed")
    return tampered("changed: its SHA-256 is not what was sealed") if digest.hexdigest() != part.sha256 else None


class _BatchCheck:
    """Checks one batch."""

    def __init__(self, task: BatchTask) -> None:
        self._task = task
        self._archive = Archive(task.directory)
        self._result = BatchResult()
        self._identities: dict[Key, str] = {}
        self._pieces: dict[Key, list[Leaves]] = {}
        self._counts: dict[Key, int] = {}
        self._extra: dict[Key, int] = {}
        self._broken: dict[str, list[SealedPart]] = {table: [] for table in schema.TABLES}

    def run(self) -> BatchResult:
        task, result = self._task, self._result
        sound: dict[str, list[Part]] = {table: [] for table in schema.TABLES}
        for part in task.parts:
            if self._is_sealed(part):
                sound[part.table].append(Part(part.table, part.path, part.rows, part.bytes, part.sha256))
            else:
                self._broken.setdefault(part.table, []).append(part)
        self._check_rows(sound["segments"])
        if not self._broken["stacks"]:
            stacks = leaves.stacks_of(self._concat("stacks", sound["stacks"]))
            for events in sound["events"]:
                self._hash_events(events, stacks)
        for key, wanted in task.segments.items():
            if self._counts.get(key, 0) < wanted.count:
                self._miss(key, wanted)
            elif not wanted.count:
                self._close(key)
        if not task.is_loose:
            for key, count in self._extra.items():
                what = (
                    f"batch {task.name} has {count:,} events of a segment that no record puts there: {_name(key)}"
                )
                result.findings.append(tampered(what))
        return result

    def _is_sealed(self, part: SealedPart) -> bool:
        """Whether a part is the file that was sealed; if not, that is noted."""
        try:
            problem = find_problem(self._archive, part)
        except FileNotFoundError:
            self._result.gone.add(part.path)
            problem = incomplete(f"not there: {part.rows:,} rows")
        if problem:
            self._result.parts[part.path] = [problem]
        return problem is None

    def _check_rows(self, parts: Sequence[Part]) -> None:
        """Rows of the table `segments`."""
        missing = dict(self._task.segments)
        for row in self._concat("segments", parts).to_pylist():
            key = row["process"], row["sequence"], row["uid"]
            wanted = missing.pop(key, None)
            if wanted is None:
                self._extra.setdefault(key, 0)
                continue
            self._identities[key] = leaves.hash_identity(row)
            if leaves.hash_row(row) != wanted.row:
                self._note(
                    key, tampered(f"segment {wanted.sequence}: its row in {parts[0].path} is not what was sealed")
                )
        for key, wanted in missing.items():
            broken = self._broken["segments"]
            what = (
                f"segment {wanted.sequence}: its row cannot be told, " + _state(self._result, broken)
                if broken
                else ""
            )
            self._note(
                key, incomplete(what or f"segment {wanted.sequence}: it has no row in batch {self._task.name}")
            )

    def _hash_events(self, part: Part, stacks: leaves.StackHashes) -> None:
        with self._reading(part):
            for group in range(pq.read_metadata(self._archive.path(part)).num_row_groups):
                table = read_part(self._archive, part, leaves.COLUMNS, dictionaries=("process",), group=group)
                hashed = leaves.of_table(table, stacks)
                for key, first, end in _segments_of(table):
                    self._add(key, hashed[first:end])

    @contextmanager
    def _reading(self, part: Part) -> Iterator[None]:
        """Notes what goes wrong while a part is read: it has gone since it was hashed, or was sealed unsound."""
        try:
            yield
        except FileNotFoundError:
            self._result.gone.add(part.path)
        except (pa.ArrowException, OSError, *_UNSOUND) as error:
            what = tampered(f"makes no sense: {type(error).__name__} {error}")
            self._result.parts.setdefault(part.path, []).append(what)

    def _add(self, key: Key, piece: Leaves) -> None:
        wanted, count = self._task.segments.get(key), len(piece.hashes)
        if wanted is None:
            self._extra[key] = self._extra.get(key, 0) + count
            return
        self._pieces.setdefault(key, []).append(piece)
        before = self._counts.get(key, 0)
        self._counts[key] = before + count
        if before >= wanted.count:
            what = f"segment {wanted.sequence} has {before + count - wanted.count:,} events more than were sealed"
            self._note(key, tampered(what))
        elif before + count >= wanted.count:
            self._close(key)

    def _close(self, key: Key) -> None:
        """All events of a segment are there."""
        wanted, pieces = self._task.segments[key], self._pieces.pop(key, [])
        whole = _join(pieces)
        findings, _ = compare(whole, wanted, self._identities.get(key))
        if len(whole.hashes) > wanted.count:
            what = (
                f"segment {wanted.sequence} has {len(whole.hashes) - wanted.count:,} events more than were sealed"
            )
            findings.append(tampered(what))
        for finding in findings:
            self._note(key, finding)

    def _miss(self, key: Key, wanted: Wanted) -> None:
        """Not all events of a segment are there."""
        broken = self._broken["stacks"] or self._broken["events"]
        if broken:
            what = f"segment {wanted.sequence}: its {wanted.count:,} events cannot be told, {_state(self._result, broken)}"
            worst = self._result.parts[broken[0].path][0].verdict
            self._note(key, Finding(worst, what))
            return
        for finding in compare(_join(self._pieces.get(key, [])), wanted, self._identities.get(key))[0]:
            self._note(key, finding)

    def _concat(self, table: str, parts: Sequence[Part]) -> pa.Table:
        tables = [schema.TABLES[table].empty_table()]
        for part in parts:
            with self._reading(part):
                tables.append(read_part(self._archive, part))
        return pa.concat_tables(tables)

    def _note(self, key: Key, finding: Finding) -> None:
        self._result.segments.setdefault(key, []).append(finding)


def _state(result: BatchResult, broken: Sequence[SealedPart]) -> str:
    first = broken[0].path
    return f"{first} is {'not there' if first in result.gone else 'changed'}"


def _join(pieces: Sequence[Leaves]) -> Leaves:
    if len(pieces) == 1:
        return pieces[0].sorted()
    slot: Column = np.concatenate([np.zeros(0, np.int64), *(piece.slot for piece in pieces)])
    number: Column = np.concatenate([np.zeros(0, np.uint64), *(piece.number for piece in pieces)])
    return Leaves(slot, number, [one for piece in pieces for one in piece.hashes]).sorted()


def _segments_of(table: pa.Table) -> list[tuple[Key, int, int]]:
    """The segments whose rows these are, and from which row to before which."""
    if not len(table):
        return []
    process = table["process"].combine_chunks()
    which, sequence, uid = process.indices.to_numpy(), table["sequence"].to_numpy(), table["uid"].to_numpy()
    changes = (which[1:] != which[:-1]) | (sequence[1:] != sequence[:-1]) | (uid[1:] != uid[:-1])
    bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(table)]
    return [
        ((process[first].as_py(), int(sequence[first]), int(uid[first])), first, end)
        for first, end in pairwise(bounds)
    ]


def _name(key: Key) -> str:
    return f"process {key[0]}, segment {key[1]}, user {key[2]}"
