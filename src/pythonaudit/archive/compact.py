"""Many small parts to few large ones: what a frequent ingest leaves, put together.

Batches are taken in order as long as they are small and sound, and written anew as one whose entry replaces
theirs: one rename, after which the old ones do not count. Events, their order and the rows of segments stay
what they are; stacks that batches had in common stand once.

Retention removes whole batches (`retention`), so only those are put together that would go, or be kept, together:
their newest events are of one day, and the same legal holds touch them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
import pyarrow as pa

from pythonaudit.archive import schema
from pythonaudit.archive.holds import Hold, find_holds
from pythonaudit.archive.manifest import Archive, Entry
from pythonaudit.archive.parts import is_sound, read_part, write_events, write_part
from pythonaudit.archive.sealer import Sealer
from pythonaudit.errors import StoreError
from pythonaudit.journal.segment import Column

SMALL_EVENTS = 1 << 20  # a batch with as many events is left alone
_DAY_NS = 86_400_000_000_000
_TEXTS = (
    *("event", "category", "source", "template", "process", "host", "boot", "run", "python", "exe", "argv"),
    *("cwd", "user", "batch", "file", "function", "package", "version", "context", "thread"),
)


def compact(
    archive: Archive,
    small_events: int = SMALL_EVENTS,
    sealer: Sealer | None = None,
    holds: Sequence[Hold] = (),
) -> int:
    """Puts small batches together.

    Args:
        archive: which.
        small_events: what has fewer is small; what is made has about as many.
        sealer: tells the log what is done; None: nothing is sealed here.
        holds: what one of these touches is put together only with what it touches too.

    Returns:
        How many batches were put together.

    Raises:
        StoreError: the archive may not be read or written; it counts as before.
    """
    count = 0
    with archive.lock():
        try:
            archive.sweep()
            if sealer:
                sealer.reconcile(archive)
            sound = [entry for entry in archive.entries() if all(is_sound(archive, part) for part in entry.parts)]
            small = [entry for entry in sound if _events(entry) < small_events]
            for group in (
                group for some in _alike(archive, small, holds) for group in _groups(some, small_events)
            ):
                _merge(archive, group, sealer)
                count += len(group)
        except (OSError, pa.ArrowException) as error:
            with suppress(OSError):
                archive.sweep()
            hint = "nothing is lost; make room, or see whether the disk fails"
            raise StoreError(f"{archive.root}: {error}", hint=hint) from None
    return count


def _alike(archive: Archive, entries: list[Entry], holds: Sequence[Hold]) -> list[list[Entry]]:
    """Batches that go, or are kept, together. One without events goes with whatever stands before it."""
    found: dict[tuple[int, frozenset[str]], list[Entry]] = {}
    for entry in entries:
        keeping = find_holds(archive, entry, holds)
        key = entry.newest_ns // _DAY_NS, keeping
        if not _events(entry):
            key = next((one for one in reversed(found) if one[1] == keeping), key)
        found.setdefault(key, []).append(entry)
    return list(found.values())


def _groups(entries: list[Entry], most: int) -> Iterator[list[Entry]]:
    """Small batches in order, none of them alone."""
    group: list[Entry] = []
    rows = 0
    for entry in entries:
        if group and rows + _events(entry) > most:
            if len(group) > 1:
                yield group
            group, rows = [], 0
        group.append(entry)
        rows += _events(entry)
    if len(group) > 1:
        yield group


def _events(entry: Entry) -> int:
    return sum(part.rows for part in entry.of("events"))


def _merge(archive: Archive, entries: list[Entry], sealer: Sealer | None) -> None:
    batch = archive.new_batch()
    stacks, ids = _merged_stacks(archive, entries, batch)
    events, segments = [], []
    for entry in entries:
        for part in entry.of("events"):
            table = read_part(archive, part, dictionaries=_TEXTS)
            old = table["stack"].fill_null(0).to_numpy()
            new = ids[entry.batch][np.minimum(old, len(ids[entry.batch]) - 1)]
            table = _with(table, "stack", pa.array(new, mask=new == 0))
            events.append(_with(table, "batch", _constant(batch, len(table))))
        for part in entry.of("segments"):
            table = read_part(archive, part)
            segments.append(_with(table, "batch", pa.repeat(batch, len(table))))
    parts = write_events(archive, batch, pa.concat_tables(events).unify_dictionaries()) if events else []
    if len(stacks):
        parts.append(write_part(archive, "stacks", f"stacks/{batch}.parquet", stacks))
    parts.append(write_part(archive, "segments", f"segments/{batch}.parquet", pa.concat_tables(segments)))
    replaces = tuple(entry.batch for entry in entries)
    entry = Entry(batch, tuple(parts), replaces, time.time_ns())
    if sealer:
        sealer.archive(entry)
    archive.commit(entry)


def _merged_stacks(archive: Archive, entries: list[Entry], batch: str) -> tuple[pa.Table, dict[str, Column]]:
    """The stacks of all batches, each once, and the new id of each old one by batch."""
    known: dict[tuple[object, ...], int] = {}
    ids: dict[str, Column] = {}
    for entry in entries:
        found = [0]
        for part in entry.of("stacks"):
            table = read_part(archive, part)
            rows = (table[name].to_pylist() for name in schema.STACKS.names[2:])
            for parent, *frame in zip(*rows, strict=True):
                above = found[parent] if parent and parent < len(found) else 0
                found.append(known.setdefault((above, *frame), len(known) + 1))
        ids[entry.batch] = np.array(found, np.int64)
    columns = list(zip(*known, strict=True)) or [()] * (len(schema.STACKS) - 2)
    parents = np.array(columns[0], np.int64)
    table = pa.table(
        {
            "batch": pa.repeat(batch, len(known)),
            "stack": pa.array(np.arange(1, len(known) + 1)),
            "parent": pa.array(parents, mask=parents == 0),
            **{
                name: pa.array(values, schema.STACKS.field(name).type)
                for name, values in zip(schema.STACKS.names[3:], columns[1:], strict=True)
            },
        }
    )
    return table, ids


def _with(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, column)


def _constant(text: str, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text]))
