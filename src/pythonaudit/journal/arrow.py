"""Segments to an Arrow table. Home of pyarrow in this package.

    table = journal.to_arrow(EventFilter(names=("open",)))

Columns have the names of the JSON of an event; in addition there are `slot` and `number`, the parts of
`id`. `time` is a timestamp in UTC; `args`, `fields`, `argv`, `stack` and `context` are JSON text; `notes` is a list.
What repeats comes as dictionaries (of each segment its own), what an event does not have as null.

Columns that need every event's arguments to be understood (`id`, `fields`, `template`, and arguments
known to be sound JSON) cost several times all the others: without them, nothing is done row by row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pythonaudit import catalog
from pythonaudit.journal import layout, texts
from pythonaudit.journal.decode import APPLICATION, Name, SegmentDecoder, note_names
from pythonaudit.journal.process import Process
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
        ("thread", _TEXT),
        ("interpreter", pa.uint32()),
        ("run", _TEXT),
        ("python", _TEXT),
        ("exe", _TEXT),
        ("argv", _TEXT),
        ("cwd", _TEXT),
        ("uid", pa.uint32()),
        ("user", _TEXT),
        ("stack", _TEXT),
        ("package", _TEXT),
        ("version", _TEXT),
        ("context", _TEXT),
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
        rows = np.arange(len(decoder.segment.events)) if mask is None else np.flatnonzero(mask)
        if len(rows):
            batches.append(batch(decoder, rows, schema))
    return pa.Table.from_batches(batches, schema)


def batch(decoder: SegmentDecoder, rows: Column, schema: pa.Schema) -> pa.RecordBatch:
    """Some events of a segment.

    Args:
        decoder: of the segment.
        rows: their positions in `segment.events`.
        schema: which of the columns of `DESCRIBED_SCHEMA`.
    """
    segment, count = decoder.segment, len(rows)
    events = segment.events if count == len(segment.events) and _is_steady(rows) else segment.events.take(rows)
    names = names_of(decoder, events)
    columns = repeating(decoder, events, names)
    columns["time"] = pa.array(events.time).view(pa.timestamp("ns", "UTC"))
    if "stack" in schema.names:
        known, which = texts.rank(events.stack, len(segment.node_parent))
        columns["stack"] = texts.dictionary(which, texts.stacks(segment, known))
    if "package" in schema.names:
        columns |= packages_of(decoder, rows)
    if "fields" in schema.names:
        columns |= _described(decoder, events, names)
    elif "args" in schema.names:
        length = np.where(events.length > len("[]"), events.length, 0)
        columns["args"] = texts.views(segment.data, events.start, length)
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def repeating(decoder: SegmentDecoder, events: Events, names: Names) -> dict[str, pa.Array]:
    """The columns in which the events of a segment have much in common: all but time, stack, package and what is
    made of arguments.

    Args:
        decoder: of the segment.
        events: of it.
        names: theirs.
    """
    return constants_of(decoder.process, len(events)) | {
        "event": texts.dictionary(names.which, names.texts),
        "category": texts.dictionary(names.category[names.which], names.categories),
        "source": texts.dictionary(np.where(events.source < len(_SOURCES), events.source, 0), _SOURCES),
        "slot": pa.array(events.slot, pa.uint32()),
        "number": pa.array(events.number, pa.uint64()),
        "tid": pa.array(events.tid, pa.uint32()),
        "thread": _threads(decoder, events),
        "interpreter": pa.array(events.interpreter, pa.uint32()),
        "context": _contexts(decoder, events),
        "notes": notes_of(events),
    }


def _is_steady(rows: Column) -> bool:
    return bool((rows[1:] > rows[:-1]).all())


def packages_of(decoder: SegmentDecoder, rows: Column) -> dict[str, pa.Array]:
    """The columns `package` and `version`.

    Args:
        decoder: of the segment.
        rows: positions of the events in it.
    """
    known = decoder.attribution
    which = known.rows[rows]
    names = [package.name if package else None for package in known.packages]
    versions = [package.version if package else None for package in known.packages]
    return {"package": texts.dictionary(which, names), "version": texts.dictionary(which, versions)}


def constants_of(process: Process, count: int) -> dict[str, pa.Array]:
    """What the events of a segment have in common."""
    said = {
        "process": process.id,
        "host": process.host,
        "boot": process.boot or None,
        "run": process.run,
        "python": process.python,
        "exe": process.exe,
        "argv": orjson.dumps(process.argv).decode() if process.argv else None,
        "cwd": process.cwd,
        "user": process.user,
    }
    first = np.zeros(count, np.int32)
    columns = {name: texts.dictionary(first, [value]) for name, value in said.items()}
    numbers = {"pid": process.pid, "ppid": process.ppid, "uid": process.uid}
    return columns | {name: pa.repeat(pa.scalar(value, pa.uint32()), count) for name, value in numbers.items()}


@dataclass(frozen=True, slots=True)
class Names:
    """The names of events, their categories, and which is whose.

    Attributes:
        texts: every name.
        which: the position there of each event's.
        categories: the categories, each once.
        category: the position there of each name's.
        interned: the first of the names, those that are strings of the segment.
    """

    texts: pa.Array
    which: Column
    categories: list[str]
    category: Column
    interned: list[Name]


def names_of(decoder: SegmentDecoder, events: Events) -> Names:
    """The names of some events of a segment."""
    segment = decoder.segment
    known, which = texts.rank(events.name, len(segment.string_start))
    interned = [decoder.name(number) for number in known.tolist()]
    found = pa.array([name.text for name in interned], pa.string())
    position: dict[str, int] = {APPLICATION: 0}
    category = [position.setdefault(name.category, len(position)) for name in interned]
    inline = np.flatnonzero(events.inline)
    if len(inline):
        start = events.start[inline] + events.length[inline]
        messages = texts.views(segment.data, start, events.inline[inline]).cast(pa.string()).dictionary_encode()
        which[inline] = messages.indices.to_numpy() + len(interned)
        found = pa.concat_arrays([found, messages.dictionary])
        # Hardly ever: a name of the catalog is interned, but for want of memory.
        category += [position[APPLICATION]] * len(messages.dictionary)
        for at in np.flatnonzero(pc.is_in(messages.dictionary, _catalog_names())).tolist():
            name = Name(messages.dictionary[at].as_py())
            category[len(interned) + at] = position.setdefault(name.category, len(position))
    return Names(found, which, list(position), np.array(category, np.int32), interned)


@cache
def _catalog_names() -> pa.Array:
    return pa.array(catalog.events(), pa.string())


def _threads(decoder: SegmentDecoder, events: Events) -> pa.DictionaryArray:
    segment = decoder.segment
    known, which = texts.rank(events.thread, len(segment.string_start))
    found = [segment.text(number) if number else None for number in known.tolist()]
    return texts.dictionary(which, pa.array(found, pa.string()))


def _contexts(decoder: SegmentDecoder, events: Events) -> pa.DictionaryArray:
    known, which = texts.rank(events.context, len(decoder.segment.contexts))
    found = [decoder.contexts.text(number).decode() or None for number in known.tolist()]
    return texts.dictionary(which, pa.array(found, pa.string()))


def notes_of(events: Events) -> pa.ListArray:
    """Lists from sums: an event's notes are as many as its bits."""
    known, which = texts.rank(events.notes, int(events.notes.max(initial=0)) + 1)
    lists = [note_names(bits) or None for bits in known.tolist()]
    return pa.array(lists, pa.list_(pa.string())).take(pa.array(which))


def _described(decoder: SegmentDecoder, events: Events, names: Names) -> dict[str, pa.Array]:
    """What is made of names and arguments, once for each pair of them."""
    every = names.interned + [Name(text) for text in names.texts[len(names.interned) :].to_pylist()]
    args = texts.copies(decoder.segment.data, events.start, events.length).dictionary_encode()
    pairs, which = np.unique(
        names.which.astype(np.int64) * len(args.dictionary) + args.indices.to_numpy(), return_inverse=True
    )
    written = args.dictionary.to_pylist()
    said = [
        decoder.describe(every[pair // len(written)], written[pair % len(written)])[:2] for pair in pairs.tolist()
    ]
    sound = pa.array([args or None for args, _ in said], pa.string())
    fields = pa.array([named or None for _, named in said], pa.string())
    templates = pa.array([name.template for name in every], pa.string())
    process = pa.repeat(decoder.process.id, len(events))
    slot = pa.array(events.slot, pa.uint32()).cast(pa.string())
    number = pa.array(events.number, pa.uint64()).cast(pa.string())
    return {
        "args": sound.take(pa.array(which)).cast(pa.string_view()),
        "fields": fields.take(pa.array(which)),
        "template": templates.take(pa.array(names.which)),
        "id": pc.binary_join_element_wise(process, slot, number, "/"),
    }
