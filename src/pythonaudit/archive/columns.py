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
from pythonaudit.journal.stacks import code_nodes

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
    segment = decoder.segment
    known, which = texts.rank(events.stack, len(segment.node_parent))
    nodes = code_nodes(segment, known)
    code, line = segment.node_code[nodes], segment.node_line[nodes].astype(np.int64)
    absent = nodes == 0
    return {
        "file": _texts(decoder, segment.code_file[code], absent, which),
        "line": pa.array(line, mask=line == 0).take(pa.array(which)),
        "function": _texts(decoder, segment.code_function[code], absent, which),
    }


def _texts(decoder: SegmentDecoder, strings: Column, absent: Column, which: Column) -> pa.DictionaryArray:
    """A column of strings of the segment, given by number."""
    known, place = np.unique(np.where(absent, -1, strings.astype(np.int64)), return_inverse=True)
    found = [decoder.segment.text(number) if number >= 0 else None for number in known.tolist()]
    return texts.dictionary(place[which], found)
