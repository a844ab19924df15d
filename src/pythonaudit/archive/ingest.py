"""Segments of the journal to parts of the archive: each exactly once, whoever is killed, however many do it.

    report = ingest(journal, Archive(directory))

What is moved: segments in which nothing more can come (rotated, ended in order, or of a process that is known
to be dead). They are written as batches of about 64 MiB of journal. The order of steps makes it safe:

1. under the lock, the segments that have a row in the archive are known; others are read;
2. parts are written, and made durable, under names that nobody reads yet;
3. where there is a log, it is told (`sealer`), and a checkpoint covers it;
4. the manifest's entry is put in place: from now on the events are in the archive, and only there for a reader
   that leaves out segments which have a row;
5. the segments are let go (`release`): removed, or offered to their process for further use.

Killed before 4, there are files that no entry names, which the next one removes; killed after it, segments
that have a row, which the next one lets go.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow as pa

from pythonaudit.archive import schema
from pythonaudit.archive.columns import build_events
from pythonaudit.archive.covered import Covered
from pythonaudit.archive.manifest import Archive, Entry
from pythonaudit.archive.parts import write_events, write_part
from pythonaudit.archive.release import Released, release
from pythonaudit.archive.sealer import Sealer
from pythonaudit.archive.segments import build_row
from pythonaudit.archive.trie import Trie
from pythonaudit.errors import StoreError
from pythonaudit.journal import layout
from pythonaudit.journal.arguments import uncollected
from pythonaudit.journal.process import build_process
from pythonaudit.journal.reader import Journal, SegmentHead

BATCH_BYTES = 64 << 20
_BEAT_AGE_NS = 24 * 3600 * 1_000_000_000


@dataclass(slots=True)
class Report:
    """What was done.

    Attributes:
        segments, events: moved into the archive.
        batches: entries of the manifest written.
        bytes: size of the parts written.
        open: segments left in the journal, because more can come in them.
        released: what became of the segments.
    """

    segments: int = 0
    events: int = 0
    batches: int = 0
    bytes: int = 0
    open: int = 0
    released: Released = field(default_factory=Released)


def ingest(
    journal: Journal,
    archive: Archive,
    progress: Callable[[int, int], None] | None = None,
    batch_bytes: int = BATCH_BYTES,
    sealer: Sealer | None = None,
) -> Report:
    """Moves all that is closed into the archive.

    Args:
        journal: whence.
        archive: whither.
        progress: told how many bytes of how many have been read.
        batch_bytes: how much of the journal goes into one batch.
        sealer: tells the log what is moved; None: nothing is sealed here.

    Raises:
        StoreError: there is no journal, or one of both may not be read or written.
    """
    journal.boxes()  # says so where there is none, before anything is made
    report = Report()
    with archive.lock():
        try:
            archive.sweep()
            if sealer:
                sealer.reconcile(archive)
            covered = Covered(archive)
            heads = journal.heads()
            closed = [head for head in heads if is_closed(head)]
            report.open = len(heads) - len(closed)
            new = [head for head in closed if not covered.has(head.key)]
            total = sum(map(_size, new))
            done = 0
            for batch in _batches(new, batch_bytes):
                with uncollected():
                    _write(journal, archive, batch, covered, report, sealer)
                done += sum(map(_size, batch))
                if progress:
                    progress(done, total)
            report.released = release(journal, heads, closed, covered)
        except OSError as error:
            with suppress(OSError):
                archive.sweep()
            hint = "what was written before counts; make room and run it again"
            raise StoreError(f"{error.filename or archive.root}: {error.strerror or error}", hint=hint) from None
    return report


def is_closed(head: SegmentHead) -> bool:
    """Whether nothing more can come in a segment."""
    header = head.header
    if header.state == layout.STATE_ROTATED:
        return True
    if header.state not in (layout.STATE_OPEN, layout.STATE_CLEAN_END):
        return False
    running = build_process(header, (), head.file.uid).is_running
    if running is not None:
        return not running  # at a clean end other threads may still be writing
    if header.state == layout.STATE_CLEAN_END:
        return True
    # Of another pid namespace: a sign of life is all there is.
    return _is_long_ago(header.beat_realtime, time.time_ns()) and _is_long_ago(
        header.beat_monotonic, time.monotonic_ns()
    )


def _is_long_ago(beat_ns: int, now_ns: int) -> bool:
    return now_ns - beat_ns > _BEAT_AGE_NS


def _size(head: SegmentHead) -> int:
    return max(min(head.header.used, layout.SEGMENT_MAX), layout.HEADER_SIZE)


def _batches(heads: Iterable[SegmentHead], most: int) -> Iterator[list[SegmentHead]]:
    """Segments in batches; those of a process stand together, processes in the order of their beginning."""
    begin: dict[bytes, int] = {}
    for head in heads:
        process = head.header.process
        begin[process] = min(head.header.begin_realtime, begin.get(process, head.header.begin_realtime))
    batch: list[SegmentHead] = []
    size = 0
    for head in sorted(heads, key=lambda h: (begin[h.header.process], h.header.process, h.header.sequence)):
        if batch and size + _size(head) > most:
            yield batch
            batch, size = [], 0
        batch.append(head)
        size += _size(head)
    if batch:
        yield batch


def _write(
    journal: Journal,
    archive: Archive,
    heads: list[SegmentHead],
    covered: Covered,
    report: Report,
    sealer: Sealer | None,
) -> None:
    """Writes a batch and makes it count."""
    batch, trie = archive.new_batch(), Trie()
    events: list[pa.Table] = []
    rows = []
    for head in heads:
        decoder = journal.load(head)
        if decoder is None:
            continue  # gone, or no segment: said by the journal
        if len(decoder.segment.events):
            events.append(build_events(decoder, trie.add(decoder), batch))
        if sealer:
            sealer.seal_closed(decoder)
        damage = [one for one in journal.damage() if one.path == head.file.path]
        rows.append(build_row(decoder, head.file.path.name, batch, damage))
    if not rows:
        return
    parts = write_events(archive, batch, pa.concat_tables(events).unify_dictionaries()) if events else []
    stacks = trie.table(batch)
    if len(stacks):
        parts.append(write_part(archive, "stacks", f"stacks/{batch}.parquet", stacks))
    table = pa.Table.from_pylist(rows, schema.SEGMENTS)
    parts.append(write_part(archive, "segments", f"segments/{batch}.parquet", table))
    entry = Entry(batch, tuple(parts), written_ns=time.time_ns())
    if sealer:
        sealer.archive(entry, rows)
    archive.commit(entry)
    covered.add(table)
    report.batches += 1
    report.segments += len(rows)
    report.events += sum(map(len, events))
    report.bytes += sum(part.bytes for part in parts)
