"""Segments to an Arrow table. Home of pyarrow in this package.

    table = journal.to_arrow(EventFilter(names=("open",)))

Columns have the names of the JSON of an event; in addition there are `slot` and `number`, the parts of
`id`. `time` is a timestamp in UTC; `args`, `fields`, `argv` and `stack` are JSON text; `notes` is a list.
What repeats comes as dictionaries (of each segment its own), what an event does not have as null.

Columns that need every event's arguments to be understood (`id`, `fields`, `template`, and arguments
known to be sound JSON) cost several times all the others: without them, nothing is done row by row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pythonaudit.journal import layout
from pythonaudit.journal.decode import Name, SegmentDecoder, note_names
from pythonaudit.journal.segment import Column, Events

_TEXT = pa.dictionary(pa.int32(), pa.string())

SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("ns", "UTC")),
        ("event", _TEXT),
        ("category", _TEXT),
        ("source", _TEXT),
        ("args", pa.string_view()),
        ("process", _TEXT),
        ("slot", pa.uint32()),
        ("number", pa.uint64()),
        ("host", _TEXT),
        ("boot", _TEXT),
        ("pid", pa.uint32()),
        ("ppid", pa.uint32()),
        ("tid", pa.uint32()),
        ("interpreter", pa.uint32()),
        ("run", _TEXT),
        ("python", _TEXT),
        ("exe", _TEXT),
        ("argv", _TEXT),
        ("cwd", _TEXT),
        ("uid", pa.uint32()),
        ("user", _TEXT),
        ("stack", _TEXT),
        ("notes", pa.list_(pa.string())),
    ]
)

DESCRIBED_SCHEMA = pa.schema([*SCHEMA, ("id", pa.string()), ("fields", pa.string()), ("template", pa.string())])

_SOURCES = pa.array([None, *layout.SOURCES.values()], pa.string())


def to_arrow(segments: Iterable[tuple[SegmentDecoder, Column | None]], describe: bool = True) -> pa.Table:
    """The events of segments, in the order in which they stand there.

    Args:
        segments: each with a mask over its events; None: all of them.
        describe: with the columns `id`, `fields` and `template`, and arguments checked.
    """
    schema = DESCRIBED_SCHEMA if describe else SCHEMA
    batches = []
    for decoder, mask in segments:
        events = decoder.segment.events
        wanted = events if mask is None else events.take(mask)
        if len(wanted):
            batches.append(_batch(decoder, wanted, schema))
    return pa.Table.from_batches(batches, schema)


def _batch(decoder: SegmentDecoder, events: Events, schema: pa.Schema) -> pa.RecordBatch:
    process, count = decoder.process, len(events)
    names, which = _names(decoder, events)
    constants: dict[str, Any] = {
        "process": process.id,
        "host": process.host,
        "boot": process.boot or None,
        "pid": process.pid,
        "ppid": process.ppid,
        "run": process.run,
        "python": process.python,
        "exe": process.exe,
        "argv": orjson.dumps(process.argv).decode() if process.argv else None,
        "cwd": process.cwd,
        "uid": process.uid,
        "user": process.user,
    }
    columns: dict[str, Any] = {
        name: pa.repeat(pa.scalar(value, schema.field(name).type), count)
        if not pa.types.is_dictionary(schema.field(name).type)
        else _dictionary(np.zeros(count, np.int32), [value])
        for name, value in constants.items()
    }
    columns |= {
        "time": pa.array(events.time).cast(pa.timestamp("ns", "UTC")),
        "event": _dictionary(which, [name.text for name in names]),
        "category": _dictionary(which, [name.category for name in names]),
        "source": pa.DictionaryArray.from_arrays(
            np.where(events.source < len(_SOURCES), events.source, 0).astype(np.int32), _SOURCES
        ),
        "slot": pa.array(events.slot.astype(np.uint32)),
        "number": pa.array(events.number.astype(np.uint64)),
        "tid": pa.array(events.tid.astype(np.uint32)),
        "interpreter": pa.array(events.interpreter.astype(np.uint32)),
        "stack": _stacks(decoder, events),
        "notes": _notes(events),
    }
    if "fields" in schema.names:
        columns |= _described(decoder, events, names, which)
    else:
        columns["args"] = _arguments(decoder.segment.data, events)
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _dictionary(indices: Column, values: Sequence[str | bytes | None]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(values, pa.string()))


def _names(decoder: SegmentDecoder, events: Events) -> tuple[list[Name], Column]:
    """Names, and the position among them of each event's."""
    known, which = np.unique(events.name, return_inverse=True)
    names = [decoder.name(number) for number in known.tolist()]
    inline = np.flatnonzero(events.inline)
    if len(inline):
        found: dict[bytes, int] = {}
        starts = (events.start[inline] + events.length[inline]).tolist()
        positions = []
        for start, length in zip(starts, events.inline[inline].tolist(), strict=True):
            text = bytes(decoder.segment.data[start : start + length])
            positions.append(found.setdefault(text, len(names) + len(found)))
        which[inline] = positions
        names += [Name(text.decode("utf-8", "replace")) for text in found]
    return names, which


def _stacks(decoder: SegmentDecoder, events: Events) -> pa.DictionaryArray:
    known, which = np.unique(events.stack, return_inverse=True)
    texts = [decoder.stacks.json(node) if node else None for node in known.tolist()]
    return _dictionary(which, texts)


def _notes(events: Events) -> pa.ListArray:
    """Lists from sums: an event's notes are as many as its bits."""
    known, which = np.unique(events.notes, return_inverse=True)
    lists = [note_names(bits) or None for bits in known.tolist()]
    return pa.array(lists, pa.list_(pa.string())).take(pa.array(which))


def _arguments(data: Any, events: Events) -> pa.Array:
    """Views of the segment's bytes: nothing is copied but prefixes and short texts."""
    count = len(events)
    present = events.length > 2  # [] says nothing
    start, length = events.start, np.where(present, events.length, 0)
    views = np.zeros((count, 4), np.int32)
    views[:, 0] = length
    text = np.frombuffer(data, np.uint8)
    prefixed = np.lib.stride_tricks.sliding_window_view(text, 12)
    at = np.minimum(start, len(text) - 12)
    head = prefixed[at]
    short = length <= 12
    views[:, 1] = np.ascontiguousarray(head[:, :4]).view(np.int32)[:, 0]
    views[:, 3] = start
    if short.any():
        inside = head[short]
        inside[np.arange(12) >= length[short, None]] = 0
        views[short, 1:] = np.ascontiguousarray(inside).view(np.int32)
    bits = np.packbits(present, bitorder="little")
    buffers = [pa.py_buffer(bits), pa.py_buffer(views), pa.py_buffer(data)]
    found = pa.Array.from_buffers(pa.string_view(), count, buffers)
    try:
        found.validate(full=True)
    except pa.ArrowInvalid:  # not UTF-8 everywhere
        rows = zip(start.tolist(), length.tolist(), strict=True)
        texts = [bytes(data[at : at + size]).decode("utf-8", "replace") or None for at, size in rows]
        found = pa.array(texts, pa.string_view())
    return found


def _described(decoder: SegmentDecoder, events: Events, names: list[Name], which: Column) -> dict[str, pa.Array]:
    data = decoder.segment.data
    args: list[bytes | None] = []
    fields: list[bytes | None] = []
    for name, start, length in zip(which.tolist(), events.start.tolist(), events.length.tolist(), strict=True):
        sound, named, _ = decoder.said(names[name], bytes(data[start : start + length]))
        args.append(sound or None)
        fields.append(named or None)
    templates = pa.array([name.template for name in names], pa.string())
    process = pa.repeat(decoder.process.id, len(events))
    slot = pa.array(events.slot.astype(np.uint32)).cast(pa.string())
    number = pa.array(events.number.astype(np.uint64)).cast(pa.string())
    return {
        "args": pa.array(args, pa.string_view()),
        "fields": pa.array(fields, pa.string()),
        "template": templates.take(pa.array(which)),
        "id": pc.binary_join_element_wise(process, slot, number, "/"),
    }
