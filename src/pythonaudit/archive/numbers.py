"""Columns of Arrow as columns of numpy, by their bytes.

The methods of pyarrow that do this (`cast`, `fill_null`, `is_null`, …) load `pyarrow.compute`, which takes as long
as reading the last events of an archive.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pythonaudit.journal.segment import Column


def numbers(column: pa.Array | pa.ChunkedArray, absent: int = 0) -> Column:
    """Whole numbers, or moments as such.

    Args:
        column: of them.
        absent: what stands for null.
    """
    array = _whole(column)
    data = array.buffers()[1]
    found = np.frombuffer(data or b"", f"i{array.type.bit_width // 8}")[array.offset :][: len(array)]
    return np.where(_present(array), found, found.dtype.type(absent)) if array.null_count else found


def flags(column: pa.Array | pa.ChunkedArray) -> Column:
    """True and false; null is false."""
    array = _whole(column)
    return _bits(array.buffers()[1], array) & _present(array)


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _present(array: pa.Array) -> Column:
    validity = array.buffers()[0]
    return _bits(validity, array) if validity is not None else np.ones(len(array), bool)


def _bits(buffer: pa.Buffer | None, array: pa.Array) -> Column:
    bits: Column = np.unpackbits(np.frombuffer(buffer or b"", np.uint8), bitorder="little")
    return bits[array.offset :][: len(array)].astype(bool)
