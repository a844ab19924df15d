"""Arguments of a segment's events, many at a time.

    written = Written(texts)             # each text once
    values = load_all(decoder, written)  # of each

They are parsed as one JSON array, with marks between them that nobody can know: so many values with a mark between
each two of them are only found where each text is one value.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pythonaudit.journal import layout
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.segment import Column


class Written:
    """The texts of arguments that occur, and what is known of all their bytes.

    Args:
        texts: each once.
    """

    def __init__(self, texts: pa.BinaryArray) -> None:
        self.texts = texts
        _, ends, data = texts.buffers()
        self._ends = np.frombuffer(ends, np.int32, len(texts) + 1, texts.offset * 4)
        self._data = np.frombuffer(data or b"", np.uint8)

    @cached_property
    def refers(self) -> Column:
        """In which of them a text of the segment is told by its number."""
        return self._having(b'"$text":')

    @cached_property
    def tagged(self) -> Column:
        """In which of them there can be a tagged form."""
        return self._having(b'"$')

    @property
    def levels(self) -> Column:
        """How deep each of them can be nested."""
        at = np.flatnonzero((self._data == ord("[")) | (self._data == ord("{")))
        levels: Column = np.diff(np.searchsorted(at, self._ends))
        return levels

    def _having(self, text: bytes) -> Column:
        # The second character is the rarer one.
        at = np.flatnonzero(self._data == text[1]) - 1
        at = at[(at >= 0) & (at + len(text) <= len(self._data))]
        for place, char in enumerate(text):
            at = at[self._data[at + place] == char]
        which = np.searchsorted(self._ends, at, "right") - 1
        found = np.zeros(len(self.texts), bool)
        found[which[at + len(text) <= self._ends[which + 1]]] = True
        return found


def load_all(decoder: SegmentDecoder, written: Written) -> list[list[Any]]:
    """The arguments of each text, decoded; none where they are not sound (reported).

    Args:
        decoder: of the segment.
        written: the texts.
    """
    count, texts = len(written.texts), written.texts
    if not count:
        return []
    mark = os.urandom(16).hex()
    present = pc.if_else(pc.equal(pc.binary_length(texts), 0), b"[]", texts)
    lists = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), present)
    together = pc.binary_join(lists, f',"{mark}",'.encode())[0].as_py()
    try:
        found = orjson.loads(b"[%b]" % together)
    except orjson.JSONDecodeError:
        found = []
    values: list[Any] = found[::2] if found[1::2] == [mark] * (count - 1) else []
    if len(values) != count:
        values = [None] * count
    unsound = np.array([kind is not list for kind in map(type, values)], bool)
    for at in np.flatnonzero(written.refers | unsound | (written.levels > layout.DEPTH_MAX)).tolist():
        values[at] = decoder.load_arguments(texts[at].as_py())
    return values


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the cycle collector, which would walk through millions of arguments again and again for nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
