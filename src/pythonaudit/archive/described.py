"""What is made of the names and arguments of a segment's events: `args`, `fields`, `template`, typed columns.

Nothing is done event by event. Arguments are parsed once for each text that occurs, all of them in one call of the
parser; messages are taken apart by `messages`; what is left is done for each pair of name and arguments.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pythonaudit.archive import schema
from pythonaudit.archive.typed import Typed, find_places, pick, pick_path
from pythonaudit.journal import texts
from pythonaudit.journal.arguments import Written, load_all
from pythonaudit.journal.arrow import Names
from pythonaudit.journal.decode import Name, SegmentDecoder
from pythonaudit.journal.messages import parse_messages
from pythonaudit.journal.segment import Column, Events

TEXT_MAX_BYTES = 64 << 20  # of a segment's events, that stand once in the segment itself
FIELDS_MAX_BYTES = 256 << 20  # the same of fields, which are made of names; they can be made again
_COLUMNS = ("args", "fields", *Typed._fields)
_TEXT = pa.string()


def describe_events(decoder: SegmentDecoder, events: Events, names: Names) -> dict[str, pa.Array]:
    """The columns that tell what happened.

    Args:
        decoder: of the segment.
        events: of it.
        names: theirs.
    """
    fields, templates = parse_messages(names.texts[len(names.interned) :])
    # A name of the catalog says nothing but its arguments.
    known = pa.array(names.category[len(names.interned) :] != 0)
    fields, templates = (pc.if_else(known, pa.scalar(None, _TEXT), column) for column in (fields, templates))
    interned = pa.array([name.template for name in names.interned], _TEXT)
    template = pa.concat_arrays([interned, templates]).dictionary_encode()
    pairs = _Pairs(decoder, events, names)
    pairs.describe(fields)
    columns = pairs.columns()
    return columns | {"template": _rows_of(template, names.which)}


def _rows_of(column: pa.DictionaryArray, which: Column) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(column.indices.take(pa.array(which)), column.dictionary)


class _Gathered:
    """Texts or numbers of pairs, put together from where they come.

    Args:
        kind: of the column.
        pairs: how many pairs there are.
    """

    def __init__(self, kind: pa.DataType, pairs: int) -> None:
        self._kind, self._size = kind, 0
        self._parts: list[pa.Array] = [pa.array([], kind)]
        self.places = np.full(pairs, -1)  # of each pair in the parts; -1: it has none

    def put(self, at: slice | Column | list[int], values: pa.Array | list[Any]) -> None:
        """The values of some pairs."""
        if isinstance(values, list):
            values = pa.array(values, self._kind)
        self.places[at] = np.arange(self._size, self._size + len(values))
        self._parts.append(values)
        self._size += len(values)

    def lengths(self) -> Column:
        """How many bytes each pair's text has."""
        lengths = pc.binary_length(pa.concat_arrays(self._parts)).fill_null(0).to_numpy()
        found: Column = np.append(lengths, 0)[self.places].astype(np.int64)
        return found

    def take(self, which: Column) -> pa.Array:
        """The value of the pair of each row."""
        if not self._size:
            return pa.nulls(len(which), self._kind)
        places = self.places[which]
        return pa.concat_arrays(self._parts).take(pa.array(places, mask=places < 0))


class _Pairs:
    """Names with arguments, each pair once."""

    def __init__(self, decoder: SegmentDecoder, events: Events, names: Names) -> None:
        self._decoder, self._names = decoder, names
        args = texts.copies(decoder.segment.data, events.start, events.length).dictionary_encode()
        self._written = Written(args.dictionary)
        self._values = load_all(decoder, self._written)
        size = max(len(args.dictionary), 1)
        pairs, self._which = np.unique(
            names.which.astype(np.int64) * size + args.indices.to_numpy(), return_inverse=True
        )
        self._name, self._text = np.divmod(pairs, size)
        self._counts = np.bincount(self._which, minlength=len(pairs))
        self._found = {name: _Gathered(schema.EVENTS.field(name).type, len(pairs)) for name in _COLUMNS}

    def columns(self) -> dict[str, pa.Array]:
        """The columns of all events."""
        return {name: found.take(self._which) for name, found in self._found.items()}

    def describe(self, message_fields: pa.Array) -> None:
        """Looks at all pairs.

        Args:
            message_fields: of the names that are not interned.
        """
        interned = len(self._names.interned)
        ends = np.searchsorted(self._name, np.arange(1, interned + 1)).tolist()
        has_values = np.array(list(map(bool, self._values)), bool)[self._text]
        # What they stand for is once in the segment, and in each event here.
        again = self._written.refers[self._text]
        alone = again.copy()
        for name, begin, end in zip(self._names.interned, [0, *ends], ends, strict=False):
            rows = begin + np.flatnonzero(~again[begin:end])
            if name.info is None:
                alone[self._application(name, rows)] = True
            else:
                self._catalogued(name, rows[has_values[rows]])
        messages = np.arange(ends[-1] if ends else 0, len(self._name))
        alone[messages] |= has_values[messages]
        rows = messages[~alone[messages]]
        self._found["fields"].put(rows, message_fields.take(pa.array(self._name[rows] - interned)))
        rows = np.flatnonzero(has_values & ~again)
        self._found["args"].put(rows, self._written.texts.take(pa.array(self._text[rows])).cast(_TEXT))
        self._one_by_one(np.flatnonzero(alone).tolist())
        self._limit_fields()

    def _application(self, name: Name, rows: Column) -> Column:
        """Fields of an application's event with a single dictionary; the rows of which nothing is said here."""
        if name.message[0] or not len(rows):
            return rows
        tagged = self._written.tagged[self._text[rows]]
        values = [self._values[text] for text in self._text[rows].tolist()]
        single = np.array([len(one) == 1 and isinstance(one[0], dict) and bool(one[0]) for one in values], bool)
        single &= ~tagged
        objects = pc.binary_slice(self._written.texts.take(pa.array(self._text[rows[single]])), 1, -1)
        self._found["fields"].put(rows[single], objects.cast(_TEXT))
        rest: Column = rows[~single]
        return rest

    def _catalogued(self, name: Name, rows: Column) -> None:
        """Typed columns of an event of the catalog."""
        values = [self._values[text] for text in self._text[rows].tolist()]
        counts = np.array(list(map(len, values)), np.int64)
        for count in np.unique(counts).tolist():
            places = find_places(name.text, count, self._decoder.process.python_version)
            if places is None:
                continue
            chosen = np.flatnonzero(counts == count)
            if places.only_path:
                given = (values[at][places.path] for at in chosen.tolist())
                paths = [value if type(value) is str else pick_path(value) for value in given]
                self._found["path"].put(rows[chosen], paths)
                continue
            picked = [pick(places, values[at]) for at in chosen.tolist()]
            for field, column in zip(Typed._fields, zip(*picked, strict=True), strict=True):
                if any(value is not None for value in column):
                    self._found[field].put(rows[chosen], list(column))

    def _one_by_one(self, rows: list[int]) -> None:
        room = TEXT_MAX_BYTES
        found: dict[str, dict[int, Any]] = defaultdict(dict)
        for at in rows:
            name, text = self._name_of(at), self._written.texts[int(self._text[at])].as_py()
            has_text = b'"$text":' in text
            if has_text:
                # A small file could fill the memory.
                if room > 0:
                    room -= len(self._decoder.describe(name, text)[2]) * int(self._counts[at])
                if room <= 0:
                    text = without_text(text)
            args, named, _ = self._decoder.describe(name, text)
            if has_text and args:
                found["args"][at] = args.decode()
            if name.info is None:
                found["fields"][at] = named.decode() or None
                continue
            values = self._decoder.load_arguments(text)
            places = find_places(name.text, len(values), self._decoder.process.python_version)
            for field, value in zip(Typed._fields, pick(places, values) if places else (), strict=False):
                found[field][at] = value
        for field, by_row in found.items():
            self._found[field].put(list(by_row), list(by_row.values()))

    def _name_of(self, at: int) -> Name:
        number, interned = int(self._name[at]), self._names.interned
        return interned[number] if number < len(interned) else Name(self._names.texts[number].as_py())

    def _limit_fields(self) -> None:
        fields = self._found["fields"]
        fields.places[np.cumsum(fields.lengths() * self._counts) >= FIELDS_MAX_BYTES] = -1


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
