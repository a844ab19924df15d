"""The events of one segment as a table of the archive (schema.EVENTS).

What is the same for many events is looked at once: names, and pairs of name and arguments.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from pythonaudit.archive import schema
from pythonaudit.archive.typed import Places, Typed, find_places, pick, pick_path
from pythonaudit.journal import arrow, texts
from pythonaudit.journal.arrow import Names
from pythonaudit.journal.decode import Name, SegmentDecoder
from pythonaudit.journal.merge import order_rows
from pythonaudit.journal.segment import Column, Events

# What is taken as `to_arrow` gives it.
_SHARED = (
    *("event", "category", "source", "process", "slot", "host", "boot", "pid", "ppid", "tid", "thread"),
    *(
        "interpreter",
        "run",
        "python",
        "exe",
        "argv",
        "cwd",
        "uid",
        "user",
        "package",
        "version",
        "context",
        "notes",
    ),
)
_SHARED_SCHEMA = pa.schema([arrow.SCHEMA.field(name) for name in _SHARED])
_THOUSAND = 1000
TEXT_MAX_BYTES = 64 << 20  # of a segment's events, that stand once in the segment itself
FIELDS_MAX_BYTES = 256 << 20  # the same of fields, which are made of names; they can be made again


def build_events(
    decoder: SegmentDecoder, stacks: Column | None, batch: str, rows: Column | None = None
) -> pa.Table:
    """The events of a segment; columns of text that repeats are dictionaries.

    Args:
        decoder: of the segment.
        stacks: the id in the batch of each of its stacks, as `Trie.add` gives them; None: the same as there.
        batch: the name of the batch.
        rows: which of its events, in which order; None: all, by time.
    """
    if rows is None:
        _, rows = order_rows(decoder.segment.events, {})
    events = decoder.segment.events.take(rows)
    names = arrow.names_of(decoder, events)
    shared = arrow.batch(decoder, rows, _SHARED_SCHEMA)
    columns = dict(zip(shared.schema.names, shared.columns, strict=True))
    stack = events.stack.astype(np.int64) if stacks is None else stacks[events.stack]
    every = names.interned + [Name(text) for text in names.texts[len(names.interned) :].to_pylist()]
    columns |= _described(decoder, events, names, every) | {
        "time": pa.array(events.time // _THOUSAND).view(pa.timestamp("us", "UTC")),
        "nanosecond": pa.array(events.time % _THOUSAND).cast(pa.int16()),
        "template": texts.dictionary(names.which, [name.template for name in every]),
        # Those that are too large are forged, and negative here.
        "number": pa.array(events.number.astype(np.int64)),
        "sequence": pa.repeat(decoder.segment.header.sequence, len(events)),
        "batch": texts.dictionary(np.zeros(len(events), np.int32), [batch]),
        "stack": pa.array(stack, mask=stack == 0),
        **_responsible(decoder, events),
    }
    absent = [name for name in schema.EVENTS.names if name not in columns]
    columns |= {name: pa.nulls(len(events), schema.EVENTS.field(name).type) for name in absent}
    return pa.table({name: _widened(columns[name], name) for name in schema.EVENTS.names})


def _widened(column: pa.Array, name: str) -> pa.Array:
    """The column in the type of the archive; dictionaries stay what they are."""
    wanted = schema.EVENTS.field(name).type
    return column if pa.types.is_dictionary(column.type) else column.cast(wanted)


def _described(decoder: SegmentDecoder, events: Events, names: Names, every: list[Name]) -> dict[str, pa.Array]:
    """What is made of names and arguments, once for each pair of them."""
    python = decoder.process.python_version
    args = texts.copies(decoder.segment.data, events.start, events.length).dictionary_encode()
    written = args.dictionary.to_pylist()
    pairs, which = np.unique(
        names.which.astype(np.int64) * len(written) + args.indices.to_numpy(), return_inverse=True
    )
    columns: dict[str, list[Any]] = {name: [None] * len(pairs) for name in ("args", "fields", *Typed._fields)}
    sound, fields, path = columns["args"], columns["fields"], columns["path"]
    places: dict[tuple[int, int], Places | None] = {}
    number_of, text_of = (part.tolist() for part in np.divmod(pairs, max(len(written), 1)))
    counts = np.bincount(which, minlength=len(pairs))
    room, fields_room = TEXT_MAX_BYTES, FIELDS_MAX_BYTES
    for at, (number, text_number) in enumerate(zip(number_of, text_of, strict=True)):
        name, text = every[number], written[text_number]
        if b'"$text":' in text:
            # The text stands once in the segment, and in each event here: a small file could fill the memory.
            if room > 0:
                room -= len(decoder.describe(name, text)[2]) * int(counts[at])
            if room <= 0:
                text = without_text(text)
        if name.info is None:
            args_json, named, _ = decoder.describe(name, text)
            sound[at] = args_json or None
            fields_room -= len(named) * int(counts[at])
            if named and fields_room > 0:
                fields[at] = named
            continue
        values = decoder.load_arguments(text)
        if not values:
            continue
        sound[at] = decoder.describe(name, text)[0] if b'"$text":' in text else text
        key = number, len(values)
        if key not in places:
            places[key] = find_places(name.text, len(values), python)
        found = places[key]
        if found is None:
            continue
        if found.only_path:
            value = values[found.path]
            path[at] = value if type(value) is str else pick_path(value)
            continue
        for field, value in zip(Typed._fields, pick(found, values), strict=True):
            if value is not None:
                columns[field][at] = value
    taken, rows = pa.array(which), len(events)
    return {name: _take(values, schema.EVENTS.field(name).type, taken, rows) for name, values in columns.items()}


def without_text(text: bytes) -> bytes:
    """Arguments whose texts are told by length and hash alone."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps(_shortened(values), ensure_ascii=False, separators=(",", ":")).encode()


def _shortened(value: Any) -> Any:
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    if isinstance(value, dict):
        is_left_out = next(iter(value), "") == "$length"
        return {key: _shortened(item) for key, item in value.items() if not (is_left_out and key == "$text")}
    return value


def _take(values: list[Any], kind: pa.DataType, which: pa.Array, rows: int) -> pa.Array:
    if values.count(None) == len(values):
        return pa.nulls(rows, kind)
    return pa.array(values, kind).take(which)


def _responsible(decoder: SegmentDecoder, events: Events) -> dict[str, pa.Array]:
    """The line of code that did it, and whose it is."""
    known, which = texts.rank(events.stack, len(decoder.segment.node_parent))
    frames = [decoder.stacks.code_frame(node) or (None, None, None) for node in known.tolist()]
    file, line, function = zip(*frames, strict=True) if frames else ((), (), ())
    return {
        "file": texts.dictionary(which, pa.array(file, pa.string()).dictionary_encode().cast(pa.string())),
        "line": pa.array([number or None for number in line], pa.int64()).take(pa.array(which)),
        "function": texts.dictionary(which, list(function)),
    }
