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
        code_ids = [0]
        for number in range(1, len(segment.code_file)):
            code = (
                segment.text(int(segment.code_file[number])),
                segment.text(int(segment.code_function[number])),
                bool(segment.code_library[number]),
                *package_of(decoder, number),
            )
            code_ids.append(codes.setdefault(code, len(codes) + 1))
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
        parent, code, line = keys[:, 0], keys[:, 1], keys[:, 2]
        # Row 0 is the code of a frame that is not known.
        codes: list[tuple[object, ...]] = [(None, None, False, None, None), *self._codes]
        by_code = [pa.array(column).take(pa.array(code)) for column in zip(*codes, strict=True)]
        file, function, library, package, version = by_code
        count = len(keys)
        return pa.table(
            {
                "batch": pa.repeat(batch, count),
                "stack": pa.array(np.arange(1, count + 1)),
                "parent": pa.array(parent, mask=parent == 0),
                "file": file,
                "line": pa.array(line, mask=line == 0),
                "function": function,
                "library": library,
                "package": package,
                "version": version,
            }
        ).cast(schema.STACKS)


def package_of(decoder: SegmentDecoder, code: int) -> tuple[str | None, str | None]:
    """Name and version of the distribution that a code object is of."""
    return None, None
