"""The stacks of many segments as one table: each stack once, however many segments and processes had it.

A stack is a frame (file, line, function) and the stack of its caller. In a segment stacks have ids of their
own; `Trie.add` gives the ids that they have in the table, which count from 1 and are larger than that of the
caller's stack, as in the journal.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pythonaudit.archive import schema
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.segment import Column

Code = tuple[str, str, bool, str | None, str | None]  # file, function, library, package, version


class Trie:
    """Collects stacks."""

    def __init__(self) -> None:
        self._codes: dict[Code, int] = {}
        self._nodes: dict[tuple[int, int, int], int] = {}

    def add(self, decoder: SegmentDecoder) -> Column:
        """Adds the stacks of a segment.

        Returns:
            The id here of each stack of the segment, by its id there; 0 stays 0.
        """
        segment, codes, nodes = decoder.segment, self._codes, self._nodes
        code_ids = [0] + [codes.setdefault(code, len(codes) + 1) for code in _codes_of(decoder)]
        found = [0]
        rows = zip(
            segment.node_parent[1:].tolist(),
            segment.node_code[1:].tolist(),
            segment.node_line[1:].tolist(),
            strict=True,
        )
        for parent, code, line in rows:
            found.append(nodes.setdefault((found[parent], code_ids[code], line), len(nodes) + 1))
        return np.array(found, np.int64)

    def table(self, batch: str) -> pa.Table:
        """All of them, in the order of their ids.

        Args:
            batch: the name that goes with the ids.
        """
        keys = np.array(list(self._nodes), np.int64).reshape(-1, 3)
        return _build_table(batch, keys[:, 0], keys[:, 1], keys[:, 2], list(self._codes))


def build_stacks(decoder: SegmentDecoder, batch: str) -> pa.Table:
    """The stacks of one segment, with the ids that they have there.

    Args:
        decoder: of the segment.
        batch: the name that goes with the ids.
    """
    segment = decoder.segment
    ids = (segment.node_parent, segment.node_code, segment.node_line)
    parent, code, line = (column[1:].astype(np.int64) for column in ids)
    return _build_table(batch, parent, code, line, _codes_of(decoder))


def _codes_of(decoder: SegmentDecoder) -> list[Code]:
    """The code objects of a segment, from id 1 on."""
    segment = decoder.segment
    rows = zip(
        segment.code_file[1:].tolist(),
        segment.code_function[1:].tolist(),
        segment.code_library[1:].tolist(),
        strict=True,
    )
    known = decoder.attribution
    packages = [(package.name, package.version) if package else (None, None) for package in known.packages]
    return [
        (segment.text(file), segment.text(function), library, *packages[package])
        for (file, function, library), package in zip(rows, known.codes[1:].tolist(), strict=True)
    ]


def _build_table(batch: str, parent: Column, code: Column, line: Column, codes: list[Code]) -> pa.Table:
    # Row 0 is the code of a frame that is not known.
    rows: list[tuple[object, ...]] = [(None, None, False, None, None), *codes]
    at = pa.array(code)
    names = ("file", "function", "library", "package", "version")
    by_code = {
        name: _repeated(pa.array(values, schema.STACKS.field(name).type), at)
        for name, values in zip(names, zip(*rows, strict=True), strict=True)
    }
    columns = by_code | {
        "batch": pa.repeat(batch, len(code)),
        "stack": pa.array(np.arange(1, len(code) + 1)),
        "parent": pa.array(parent, mask=parent == 0),
        "line": pa.array(line, mask=line == 0),
    }
    return pa.table({name: columns[name] for name in schema.STACKS.names})


def _repeated(values: pa.Array, at: pa.Array) -> pa.Array:
    """Values again and again: texts as a dictionary."""
    if not pa.types.is_string(values.type):
        return values.take(at)
    values = values.dictionary_encode()
    return pa.DictionaryArray.from_arrays(values.indices.take(at), values.dictionary)
