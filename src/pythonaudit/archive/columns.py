"""The events of one segment as a table of the archive (schema.EVENTS)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pythonaudit.archive import schema
from pythonaudit.archive.described import describe_events
from pythonaudit.journal import arrow, texts
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.merge import order_rows
from pythonaudit.journal.segment import Column, Events

_THOUSAND = 1000


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
    stack = events.stack.astype(np.int64) if stacks is None else stacks[events.stack]
    columns = arrow.repeating(decoder, events, names) | describe_events(decoder, events, names)
    columns |= arrow.packages_of(decoder, rows) | {
        "time": pa.array(events.time // _THOUSAND).view(pa.timestamp("us", "UTC")),
        "nanosecond": pa.array(events.time % _THOUSAND).cast(pa.int16()),
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
