"""Retention: what is older than its time, or more than there may be, goes; what a legal hold touches stays.

    report = apply(archive, journal, config.retention, config.hold, sealer)

Whole batches go, the oldest first: those whose newest event is older than `age`, then, as long as the archive is
larger than `size`, the next. Of the journal, what ingest cannot move goes at `journal_age`: closed segments that are
not in the archive, files that are no segments, and what is kept in `damaged`; only where the box is this user's own.

Order of steps, each durable before the next:

1. where there is a log, it is told what is in force (`setting`, `hold`) and what goes (`dropped`, `gone`), and a
   checkpoint covers it;
2. batches are removed (`drop`), then files.

Killed between, the next one removes the batches that the log says are dropped. Files of the journal are chosen anew,
and told again.
"""

from __future__ import annotations

import os
import stat
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from pythonaudit.archive import drop
from pythonaudit.archive.dropped import load_dropped
from pythonaudit.archive.holds import Hold, describe_hold, find_holds, touches
from pythonaudit.archive.ingest import is_closed
from pythonaudit.archive.manifest import Archive, Entry
from pythonaudit.archive.sealer import Sealer, describe_parts
from pythonaudit.errors import FormatError, StoreError
from pythonaudit.journal import files, layout
from pythonaudit.journal.chunks import is_unbegun, parse_header
from pythonaudit.journal.reader import Journal, Key, SegmentHead
from pythonaudit.journal.survey import parse_name

AGE, SIZE, JOURNAL_AGE = "age", "size", "journal_age"
_SECOND_NS = 1_000_000_000
_RECORD_BATCHES = 100  # in one record
_RECORD_FILES = 1000
_BLOCK = 1 << 20


class Limits(Protocol):
    """How much is kept (`agent.config.Retention` is one). None: without end."""

    @property
    def age(self) -> float | None:
        """Of events in the archive, seconds."""

    @property
    def size(self) -> int | None:
        """Of the archive, bytes."""

    @property
    def journal_age(self) -> float | None:
        """Of what cannot be archived, seconds."""


@dataclass(slots=True)
class Report:
    """What was done.

    Attributes:
        batches, events, bytes: removed from the archive.
        begin_ns, end_ns: time of the first and the last event of these; None: there was none.
        held: batches that would have gone, and the holds that keep them.
        over: by how many bytes the archive is larger than it may be, because of holds.
        files, file_bytes: removed from the journal and from what was damaged.
        lost: sealed events in these files, as far as there is a log.
    """

    batches: int = 0
    events: int = 0
    bytes: int = 0
    begin_ns: int | None = None
    end_ns: int | None = None
    held: dict[str, frozenset[str]] = field(default_factory=dict)
    over: int = 0
    files: int = 0
    file_bytes: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the journal that goes.

    Attributes:
        path: where it is.
        name: below the directory of `PYTHONAUDIT_DIR`.
        bytes: how large.
        begin_ns, end_ns: of its events, as far as can be told.
        key: which segment it is; None: it is none, or one that is in the archive as far as it can be read.
    """

    path: Path
    name: str
    bytes: int
    begin_ns: int
    end_ns: int
    key: Key | None


def apply(
    archive: Archive,
    journal: Journal,
    limits: Limits,
    holds: Sequence[Hold] = (),
    sealer: Sealer | None = None,
    now_ns: int | None = None,
) -> Report:
    """Removes what need not be kept. After `ingest`, which moves what can be moved.

    Args:
        archive: which.
        journal: beside it.
        limits: how much is kept.
        holds: what stays all the same.
        sealer: tells the log what is done; None: nothing is sealed here, and what goes leaves no trace but its
            number and times (`dropped.load_dropped`).
        now_ns: the present, nanoseconds since 1970; None: now.

    Raises:
        StoreError: the archive, the journal or the log may not be read or written. What was not told was not removed.
    """
    now_ns = time.time_ns() if now_ns is None else now_ns
    report = Report()
    with archive.lock():
        try:
            archive.sweep()
            if sealer:
                sealer.reconcile(archive)
                sealer.declare(describe_limits(limits), [describe_hold(hold) for hold in holds])
            chosen = _choose(archive, limits, holds, now_ns, report)
            others = _choose_files(archive, journal, limits, holds, now_ns)
            if sealer and (chosen or others):
                records = [*_batch_records(chosen), *_file_records(others)]
                report.lost = sealer.tell_dropped(records, [file.key for file in others if file.key])
            _remove(archive, chosen, others)
            if chosen or others:
                drop.forget(archive, _processes(archive, journal))
        except OSError as error:
            hint = "what goes is told before it goes, so this takes a little room; the next run finishes it"
            raise StoreError(f"{error.filename or archive.root}: {error.strerror or error}", hint=hint) from None
    entries = [entry for entry, _ in chosen]
    report.batches, report.events = len(entries), drop.count_events(entries)
    report.bytes = sum(map(size_of, entries))
    report.begin_ns, report.end_ns = drop.span_of(entries)
    report.files, report.file_bytes = len(others), sum(file.bytes for file in others)
    return report


def describe_limits(limits: Limits) -> dict[str, Any]:
    """The limits as records `setting` have them."""
    return {
        "retention.age": limits.age,
        "retention.size": limits.size,
        "retention.journal_age": limits.journal_age,
    }


def size_of(entry: Entry) -> int:
    """How many bytes the parts of a batch have."""
    return sum(part.bytes for part in entry.parts)


def _choose(
    archive: Archive, limits: Limits, holds: Sequence[Hold], now_ns: int, report: Report
) -> list[tuple[Entry, str]]:
    """The batches that go, oldest first, and by which rule."""
    entries = sorted(archive.entries(), key=lambda entry: (entry.newest_ns, entry.batch))
    oldest_ns = None if limits.age is None else now_ns - int(limits.age * _SECOND_NS)
    left = sum(map(size_of, entries))
    found = []
    for entry in entries:
        if oldest_ns is not None and entry.newest_ns < oldest_ns:
            rule = AGE
        elif limits.size is not None and left > limits.size:
            rule = SIZE
        else:
            break
        keeping = find_holds(archive, entry, holds)
        if keeping:
            report.held[entry.batch] = keeping
        else:
            found.append((entry, rule))
            left -= size_of(entry)
    report.over = max(0, left - limits.size) if limits.size is not None else 0
    return found


def _choose_files(
    archive: Archive, journal: Journal, limits: Limits, holds: Sequence[Hold], now_ns: int
) -> list[_File]:
    """What goes of the journal."""
    if limits.journal_age is None:
        return []
    before_ns = now_ns - int(limits.journal_age * _SECOND_NS)
    try:
        boxes = journal.boxes()
    except StoreError:  # there is no journal
        boxes = []
    covered: set[Key] | None = None
    found = []
    for box in boxes:
        for file in files.list_box(box) if box.uid == os.geteuid() else ():
            state = _own_and_old(file.path, before_ns)
            if state is None:
                continue
            if covered is None:
                entries = archive.entries()
                covered = {key for entry in entries for key in drop.keys_of(archive, entry)}
                covered |= load_dropped(archive).segments
            one = _look_at(file, state, journal, covered, holds)
            if one is not None:
                found.append(one)
    for directory in dict.fromkeys([journal.directory, *(box.path.parents[1] for box in boxes)]):
        place = directory / "damaged"
        for name in sorted(os.listdir(place)) if place.is_dir() else ():
            path = place / name
            state = _own_and_old(path, before_ns) if name.endswith(files.SUFFIX) else None
            if state is None:
                continue
            one = _look_at(files.SegmentFile(path, os.geteuid()), state, journal, None, holds)
            if one is not None:
                found.append(one)
    return found


def _own_and_old(path: Path, before_ns: int) -> os.stat_result | None:
    """The state of a file that is this user's, and nobody has written to for so long."""
    try:
        state = os.lstat(path)
    except OSError:
        return None
    is_own = stat.S_ISREG(state.st_mode) and state.st_nlink == 1 and state.st_uid == os.geteuid()
    return state if is_own and state.st_mtime_ns < before_ns else None


def _look_at(
    file: files.SegmentFile,
    state: os.stat_result,
    journal: Journal,
    covered: set[Key] | None,
    holds: Sequence[Hold],
) -> _File | None:
    """A file that goes; None: it stays.

    Args:
        covered: segments that are in the archive, whose files are not ours to remove; None: it was kept aside.
    """
    try:
        with files.open_segment(file) as descriptor:
            data = files.read_segment(descriptor, layout.HEADER_SIZE + layout.CHUNK_HEADER_SIZE)
    except (FileNotFoundError, files.RefusedError):
        return None
    begin_ns, end_ns = _time_in(file.path.name), state.st_mtime_ns
    host = run = None
    key: Key | None = None
    try:
        head = None if is_unbegun(data) else SegmentHead(file, parse_header(data))
    except FormatError:
        if data.startswith(layout.MAGIC) and len(data) >= layout.HEADER_SIZE:
            return None  # of a later version, whose process may live
        head = None
    if head is None and covered is not None:
        process, sequence = parse_name(file.path)
        key = (process, sequence, file.uid) if process is not None and sequence is not None else None
    elif head is not None:
        if covered is not None and (head.key in covered or not is_closed(head)):
            return None
        begin_ns, end_ns = min(head.header.begin_realtime, end_ns), max(head.header.end_realtime, end_ns)
        known = journal.process(head)
        if known is not None:
            host, run = known.host or "", known.run or ""
        key = head.key if covered is not None else None
    if any(touches(hold, begin_ns, end_ns, host, run) for hold in holds):
        return None
    root = file.path.parents[1 if covered is None else 2]
    return _File(file.path, str(file.path.relative_to(root)), state.st_size, begin_ns, end_ns, key)


def _time_in(name: str) -> int:
    """When a segment was begun, as its name says; 0: it says nothing."""
    process, _ = parse_name(Path(name))
    return int(name.partition("-")[0], 16) if process is not None else 0


def _batch_records(chosen: Sequence[tuple[Entry, str]]) -> Iterator[Mapping[str, Any]]:
    by_rule: dict[str, list[Entry]] = defaultdict(list)
    for entry, rule in chosen:
        by_rule[rule].append(entry)
    for rule, entries in by_rule.items():
        for at in range(0, len(entries), _RECORD_BATCHES):
            some = entries[at : at + _RECORD_BATCHES]
            begin, end = drop.span_of(some)
            yield {
                "batches": [entry.batch for entry in some],
                "events": drop.count_events(some),
                "begin_ns": begin,
                "end_ns": end,
                "rule": rule,
                "parts": [part for entry in some for part in describe_parts(entry)],
            }


def _file_records(chosen: Sequence[_File]) -> Iterator[Mapping[str, Any]]:
    for at in range(0, len(chosen), _RECORD_FILES):
        some = chosen[at : at + _RECORD_FILES]
        yield {
            "batches": [],
            "events": 0,
            "begin_ns": min(file.begin_ns for file in some),
            "end_ns": max(file.end_ns for file in some),
            "rule": JOURNAL_AGE,
            "parts": [],
            "files": [{"path": f.name, "bytes": f.bytes, "sha256": _digest(f.path)} for f in some],
        }


def _digest(path: Path) -> str | None:
    """SHA-256 of a file; None: it has gone."""
    found = sha256()
    with suppress(FileNotFoundError), open(path, "rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
        return found.hexdigest()
    return None


def _remove(archive: Archive, chosen: Sequence[tuple[Entry, str]], others: Sequence[_File]) -> None:
    segments = [file.key for file in others if file.key]
    if chosen or segments:
        drop.drop(archive, [entry for entry, _ in chosen], segments)
    for file in others:
        with suppress(FileNotFoundError):
            os.unlink(file.path)


def _processes(archive: Archive, journal: Journal) -> set[str]:
    """The processes of which something is left."""
    found = {key[0] for entry in archive.entries() for key in drop.keys_of(archive, entry)}
    with suppress(StoreError):
        found |= {process for process, _ in map(_named, files.list_segments(journal.boxes())) if process}
    return found


def _named(file: files.SegmentFile) -> tuple[str | None, int | None]:
    return parse_name(file.path)
