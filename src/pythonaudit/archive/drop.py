"""Removes batches from the archive, in an order in which whoever is killed, or reads meanwhile, loses nothing else.

1. their segments are named in `dropped.json` (`dropped`): from now on they are not archived again;
2. the entries of the manifest are removed: from now on their events are gone;
3. the parts are removed. What is left of these after a kill, the next sweep removes.

Where there is a log, a record `dropped` comes before all that, and whoever finds one whose batches are still there
goes on with it (`Sealer.reconcile`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

import pyarrow as pa

from pythonaudit.archive.dropped import Dropped, load_dropped, save_dropped
from pythonaudit.archive.manifest import Archive, Entry
from pythonaudit.archive.parts import read_part
from pythonaudit.durable import sync_directory
from pythonaudit.journal.reader import Key

_KEY = ("process", "sequence", "uid")


def drop(archive: Archive, entries: Sequence[Entry], segments: Iterable[Key] = ()) -> None:
    """Removes batches, and names further segments as removed. Under the lock.

    Raises:
        OSError: something could not be written or removed; what was not yet removed counts.
        StoreError: the archive may not be read.
    """
    before = load_dropped(archive)
    said = _add(before, [entry for entry in entries if entry.batch not in before.last])
    keys = before.segments.union(segments, *(keys_of(archive, entry) for entry in entries))
    last = tuple(entry.batch for entry in entries) or before.last
    save_dropped(archive, replace(said, segments=keys, last=last))
    if not entries:
        return
    manifest = archive.root / "manifest"
    gone = {entry.batch for entry in entries}
    others = {part.path for entry in archive.entries() if entry.batch not in gone for part in entry.parts}
    for entry in entries:
        with suppress(FileNotFoundError):
            os.unlink(manifest / f"{entry.batch}.json")
    sync_directory(manifest)
    # Not left to the sweep: it removes no part as long as any entry cannot be read.
    for part in (part for entry in entries for part in entry.parts if part.path not in others):
        with suppress(FileNotFoundError):
            os.unlink(archive.path(part))
    archive.sweep()


def forget(archive: Archive, processes: Collection[str]) -> None:
    """Forgets the segments of processes of which nothing is left. Under the lock.

    Args:
        archive: which.
        processes: those of which something is there, in the archive or the journal.

    Raises:
        OSError: it could not be written.
    """
    dropped = load_dropped(archive)
    left = frozenset(key for key in dropped.segments if key[0] in processes)
    if left != dropped.segments:
        save_dropped(archive, replace(dropped, segments=left))


def keys_of(archive: Archive, entry: Entry) -> list[Key]:
    """The segments of a batch; none where that cannot be read (noted)."""
    found: list[Key] = []
    for part in entry.of("segments"):
        try:
            table = read_part(archive, part, _KEY)
        except (OSError, pa.ArrowException) as error:
            archive.note(archive.path(part), error)
            continue
        found += zip(*(table[name].to_pylist() for name in _KEY), strict=True)
    return found


def _add(dropped: Dropped, entries: Sequence[Entry]) -> Dropped:
    begin, end = span_of(entries)
    begins = [time for time in (dropped.begin_ns, begin) if time is not None]
    ends = [time for time in (dropped.end_ns, end) if time is not None]
    return replace(
        dropped,
        batches=dropped.batches + len(entries),
        events=dropped.events + count_events(entries),
        begin_ns=min(begins, default=None),
        end_ns=max(ends, default=None),
    )


def count_events(entries: Iterable[Entry]) -> int:
    """How many events are in some batches."""
    return sum(part.rows for entry in entries for part in entry.of("events"))


def span_of(entries: Iterable[Entry]) -> tuple[int | None, int | None]:
    """Time of the first and the last event of some batches; None: there is none."""
    parts = [part for entry in entries for part in entry.of("events")]
    begins = [part.begin_ns for part in parts if part.begin_ns is not None]
    ends = [part.end_ns for part in parts if part.end_ns is not None]
    return min(begins, default=None), max(ends, default=None)
