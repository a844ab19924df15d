"""What the records of a log say is where: the events of each segment, and what each batch of the archive holds.

    account = Account()
    account.add(number, record, leaf)     # of every record that counts, in order
    account.counting(), account.captures

Values only. What makes no sense in itself (a broken chain, events that are sealed twice, a batch that replaces
nothing) is a finding here; whether journal and archive agree, is for `archive.verify` to say.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pythonaudit.integrity.state import Key, Run, Span, add_span
from pythonaudit.integrity.verdicts import Finding, incomplete, tampered

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PROCESS = re.compile(r"[0-9a-f]{32}")
_U32, _U64 = 1 << 32, 1 << 64


@dataclass(frozen=True, slots=True)
class SealedEvents:
    """A record `events`: its number, and what it says."""

    number: int
    identity: str
    runs: tuple[Run, ...]
    count: int
    root: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A record `segment`: its number, and what it says."""

    number: int
    events: int
    row: str
    batch: str


@dataclass(slots=True)
class SealedSegment:
    """A segment.

    Attributes:
        events: the records of its events.
        spans: which these are, by slot.
        count: how many.
        gone: a record said that it is lost: why.
    """

    key: Key
    events: list[SealedEvents] = field(default_factory=list)
    spans: dict[int, list[Span]] = field(default_factory=dict)
    count: int = 0
    gone: str | None = None


@dataclass(slots=True)
class Capture:
    """A process's journal.

    Attributes:
        process, uid: whose.
        last: number of the last record about it.
        segments: by sequence.
        findings: what is wrong with its records.
    """

    process: str
    uid: int
    last: int = 0
    segments: dict[int, SealedSegment] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    leaf: str | None = None

    @property
    def events(self) -> int:
        """How many are sealed."""
        return sum(segment.count for segment in self.segments.values())


@dataclass(frozen=True, slots=True)
class SealedPart:
    """A part, as a record has it."""

    path: str
    rows: int
    bytes: int
    sha256: str

    @property
    def table(self) -> str:
        """Which table it is of."""
        return self.path.partition("/")[0]


@dataclass(slots=True)
class SealedBatch:
    """A batch of the archive.

    Attributes:
        name, number: of the batch, and of its record.
        entry: digest of its file in the manifest.
        parts: its parts.
        replaces: batches that it took the place of.
        segments: those that it holds, as far as records say.
        is_found: it was there when sealing began. `is_loose`: it holds what is from such a one.
        state: `counts`, `replaced`, `void` or `dropped`.
    """

    name: str
    number: int
    entry: str
    parts: tuple[SealedPart, ...]
    replaces: tuple[str, ...] = ()
    segments: dict[Key, Closed] = field(default_factory=dict)
    is_found: bool = False
    is_loose: bool = False
    state: str = "counts"

    def rows(self, table: str) -> int:
        """How many rows of a table it has."""
        return sum(part.rows for part in self.parts if part.table == table)


class Account:
    """The sum of all records.

    Attributes:
        captures: by process and uid.
        batches: by name.
        last_batch: the one whose writer can have been killed before it came into the manifest.
        found_ns: when sealing began. `found_segments`: segments that were in the journal then.
        dropped_events: how many retention removed.
        findings: what is wrong with records about the archive.
    """

    def __init__(self) -> None:
        self.captures: dict[tuple[str, int], Capture] = {}
        self.batches: dict[str, SealedBatch] = {}
        self.last_batch = ""
        self.found_ns = self.found_segments = self.dropped_events = 0
        self.findings: list[Finding] = []
        self._closed: list[tuple[Key, Closed]] = []  # of a batch that is to come

    def add(self, number: int, record: Mapping[str, Any], leaf: str) -> None:
        """The next record that counts.

        Args:
            number: of the record.
            record: parsed.
            leaf: its hash, in hexadecimal digits.

        Raises:
            KeyError, TypeError, ValueError: it makes no sense.
        """
        match record["record"]:
            case "events" | "segment" | "gone":
                self._add_about(number, record, leaf)
            case "batch":
                self._add_batch(number, record)
            case "void":
                self._add_void(number, record)
            case "dropped":
                self._add_dropped(number, record)
            case "found":
                self._add_found(number, record)
            case _:
                pass  # says nothing about what is where

    def counting(self, with_last: bool = True) -> set[str]:
        """The batches that are in the manifest.

        Args:
            with_last: whether the last one had come into it when it was looked at.
        """
        names = {name for name, batch in self.batches.items() if batch.state == "counts"}
        last = self.batches.get(self.last_batch)
        if with_last or last is None or last.state != "counts":
            return names
        return names - {last.name} | self._restored(last)

    def segments(self) -> Iterator[SealedSegment]:
        """All segments of which anything is sealed."""
        for capture in self.captures.values():
            yield from capture.segments.values()

    def _add_about(self, number: int, record: Mapping[str, Any], leaf: str) -> None:
        key = _text(record["process"], _PROCESS), _whole(record["sequence"], _U32), _whole(record["uid"], _U32)
        capture = self.captures.setdefault((key[0], key[2]), Capture(key[0], key[2]))
        if record["previous"] != capture.leaf:
            before = f"record {capture.last:,}, the one before it" if capture.leaf else "nothing before it"
            capture.findings.append(tampered(f"record {number:,} does not follow {before} about this process"))
        capture.leaf, capture.last = leaf, number
        segment = capture.segments.setdefault(key[1], SealedSegment(key))
        if record["record"] == "events":
            self._add_events(capture, segment, number, record)
        elif record["record"] == "segment":
            events, row = _whole(record["events"]), _text(record["row"], _DIGEST)
            if events != segment.count:
                what = f"segment {key[1]} has {events:,} events by record {number:,}, and {segment.count:,} are sealed"
                capture.findings.append(tampered(what))
            self._closed.append((key, Closed(number, events, row, _text(record["batch"]))))
        else:
            lost = _whole(record["events"])
            segment.gone = _text(record["reason"])
            if segment.gone != "evicted":
                what = (
                    f"segment {key[1]} was gone before it was archived (record {number:,}): {lost:,} sealed events"
                )
                capture.findings.append(incomplete(what))

    def _add_events(
        self, capture: Capture, segment: SealedSegment, number: int, record: Mapping[str, Any]
    ) -> None:
        identity, root = _text(record["identity"], _DIGEST), _text(record["root"], _DIGEST)
        runs = tuple(_run(run) for run in record["runs"])
        if not runs or any(later[:2] < run[:2] for run, later in pairwise(runs)):
            raise ValueError("its runs are in no order")
        count = _whole(record["events"])
        if sum(run[2] for run in runs) != count:
            raise ValueError("its runs are not as many events as it says")
        if _add_runs(segment.spans, runs):
            what = f"events of segment {segment.key[1]} are sealed twice (record {number:,})"
            capture.findings.append(tampered(what))
        segment.count += count
        segment.events.append(SealedEvents(number, identity, runs, count, root))

    def _add_found(self, number: int, record: Mapping[str, Any]) -> None:
        self.found_ns, self.found_segments = record["time_ns"], _whole(record["segments"])
        for said in record["batches"]:
            batch = _batch(number, said)
            batch.is_found = batch.is_loose = True
            self.batches[batch.name] = batch

    def _add_batch(self, number: int, record: Mapping[str, Any]) -> None:
        batch = _batch(number, record)
        batch.replaces = tuple(_text(name) for name in record["replaces"])
        if batch.name in self.batches:
            raise ValueError("it is of a batch that another record names")
        olds = [self.batches[name] for name in batch.replaces if name in self.batches]
        if len(olds) < len(batch.replaces) or any(old.state != "counts" for old in olds):
            raise ValueError("it replaces what is not there")
        for old in olds:
            old.state = "replaced"
            batch.segments |= old.segments
            batch.is_loose |= old.is_loose
        for table in ("events", "segments") if olds else ():
            before, now = sum(old.rows(table) for old in olds), batch.rows(table)
            if before != now:
                what = (
                    f"batch {batch.name} (record {number:,}) has {now:,} rows of {table}, and replaces {before:,}"
                )
                self.findings.append(tampered(what))
        batch.segments |= {key: closed for key, closed in self._closed if closed.batch == batch.name}
        self._closed.clear()  # the others: killed before their batch was told
        self.batches[batch.name] = batch
        self.last_batch = batch.name

    def _add_void(self, number: int, record: Mapping[str, Any]) -> None:
        batch = self.batches[record["batch"]]
        if batch.name != self.last_batch or batch.state != "counts":
            raise ValueError("only the batch before it can have come to nothing")
        batch.state = "void"
        for name in self._restored(batch):
            self.batches[name].state = "counts"

    def _add_dropped(self, number: int, record: Mapping[str, Any]) -> None:
        for name in record["batches"]:
            if self.batches[name].state != "counts":
                raise ValueError(f"it drops {name}, which is not there")
            self.batches[name].state = "dropped"
        self.dropped_events += _whole(record["events"])

    def _restored(self, batch: SealedBatch) -> set[str]:
        """What counts in the place of a batch that came to nothing."""
        return {name for name in batch.replaces if self.batches[name].state == "replaced"}


def _add_runs(spans: dict[int, list[Span]], runs: tuple[Run, ...]) -> bool:
    """Adds runs to what is sealed; whether some of it was already."""
    overlap = False
    for slot, first, count in runs:
        known = spans.get(slot, [])
        at = bisect_left(known, (first + count, 0))
        overlap |= at > 0 and known[at - 1][1] > first
        spans[slot] = add_span(known, (first, first + count))
    return overlap


def _batch(number: int, said: Mapping[str, Any]) -> SealedBatch:
    parts = tuple(
        SealedPart(_text(p["path"]), _whole(p["rows"]), _whole(p["bytes"]), _text(p["sha256"], _DIGEST))
        for p in said["parts"]
    )
    return SealedBatch(_text(said["batch"]), number, _text(said["entry"], _DIGEST), parts)


def _run(said: Any) -> Run:
    slot, first, count = said
    run = _whole(slot, _U32), _whole(first, _U64), _whole(count)
    if not count or first + count > _U64:
        raise ValueError("a run makes no sense")
    return run


def _whole(value: Any, most: int = 1 << 63) -> int:
    if type(value) is not int or not 0 <= value < most:
        raise ValueError(f"{value!r} is no such number")
    return value


def _text(value: Any, pattern: re.Pattern[str] | None = None) -> str:
    if type(value) is not str or (pattern and not pattern.fullmatch(value)):
        raise ValueError(f"{value!r} is no such text")
    return value
