"""Text of a segment as Arrow arrays, many at a time: where it lies in the bytes, and stacks as JSON.

Nothing here is done text by text, but for the names of files and functions, each once a segment.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pythonaudit.journal import layout
from pythonaudit.journal.chunks import Bytes
from pythonaudit.journal.segment import Column, Segment

_INLINE_BYTES = 12  # texts that are no longer lie in the view itself

# More text than honest stacks of one segment make, and than fits in one array of text.
_STACKS_MAX_BYTES = 1 << 30


def views(data: Bytes, start: Column, length: Column) -> pa.Array:
    """Text at these places; none where the length is 0. What is not UTF-8 is replaced.

    Nothing is copied but beginnings and short texts: the array holds `data`.
    """
    present = np.packbits(length > 0, bitorder="little")
    buffers = [pa.py_buffer(present), *_views(data, start, length)]
    found = pa.Array.from_buffers(pa.string_view(), len(start), buffers)
    try:
        found.validate(full=True)
    except pa.ArrowInvalid:  # not UTF-8 everywhere
        rows = zip(start.tolist(), length.tolist(), strict=True)
        texts = [bytes(data[at : at + size]).decode("utf-8", "replace") or None for at, size in rows]
        found = pa.array(texts, pa.string_view())
    return found


def copies(data: Bytes, start: Column, length: Column) -> pa.Array:
    """The bytes at these places."""
    buffers = [None, *_views(data, start, length)]
    return pa.Array.from_buffers(pa.binary_view(), len(start), buffers).cast(pa.binary())


def _views(data: Bytes, start: Column, length: Column) -> list[pa.Buffer]:
    if len(data) < _INLINE_BYTES:
        data = bytes(data).ljust(_INLINE_BYTES, b"\0")
    found = np.zeros((len(start), 4), np.int32)
    found[:, 0] = length
    last = len(data) - _INLINE_BYTES  # the last place with a whole view of bytes behind it
    at = np.minimum(start, last)
    found[:, 1] = np.ndarray(last + 1, np.int32, data, strides=(1,))[at]
    found[:, 3] = start
    short = np.flatnonzero(length <= _INLINE_BYTES)
    if len(short):
        inside = _windows(data)[at[short]]
        late = np.flatnonzero(start[short] > last)
        if len(late):
            inside[late] = _windows(bytes(data[last:]) + bytes(_INLINE_BYTES))[start[short[late]] - last]
        inside[np.arange(_INLINE_BYTES) >= length[short, None]] = 0
        found[short, 1:] = inside.view(np.int32)
    return [pa.py_buffer(found), pa.py_buffer(data)]


def _windows(data: Bytes) -> Column:
    """So many bytes from each place on."""
    found: Column = np.ndarray((len(data) - _INLINE_BYTES + 1, _INLINE_BYTES), np.uint8, data, strides=(1, 1))
    return found


def rank(numbers: Column, size: int) -> tuple[Column, Column]:
    """The numbers that occur, sorted, and for each one given its position among them.

    Args:
        numbers: from 0.
        size: all are less.
    """
    occurs = np.zeros(size, bool)
    occurs[numbers] = True
    positions = np.cumsum(occurs, dtype=np.int32)
    positions -= 1
    return np.flatnonzero(occurs), positions[numbers]


def stacks(segment: Segment, nodes: Column) -> pa.Array:
    """Stacks as JSON arrays, innermost frame first; null where the node is 0.

    Null also where all of them together would be larger than what an honest writer makes: stacks share
    their frames, and a small file could describe more text than there is memory for.
    """
    offsets, frames = _frames(segment.node_parent, nodes)
    known, which = rank(frames, len(segment.node_parent))
    objects = _frame_objects(segment, known)
    size = np.append(0, np.cumsum(pc.binary_length(objects).to_numpy(zero_copy_only=False)[which] + 1))
    reached = size[offsets]
    if reached[-1] > _STACKS_MAX_BYTES:
        fitting = int(np.searchsorted(reached, _STACKS_MAX_BYTES, "right")) - 1
        rest = pa.nulls(len(nodes) - fitting, pa.string())
        return pa.concat_arrays([stacks(segment, nodes[:fitting]), rest])
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), objects.take(pa.array(which)))
    found = pc.binary_join_element_wise("[", pc.binary_join(lists, ","), "]", "")
    return pc.if_else(pa.array(nodes > 0), found, pa.scalar(None, pa.string()))


def _frames(parents: Column, nodes: Column) -> tuple[Column, Column]:
    """The frames (nodes) of all stacks one after the other, and where each begins and the last ends."""
    levels: list[tuple[Column, Column]] = []
    rows, at = np.flatnonzero(nodes), nodes[nodes > 0]
    while len(rows) and len(levels) < layout.STACK_MAX_NODES:
        levels.append((rows, at))
        at = parents[at]
        on = at > 0
        rows, at = rows[on], at[on]
    depth = np.zeros(len(nodes) + 1, np.int64)
    for rows, _ in levels:
        depth[rows + 1] += 1
    offsets = np.cumsum(depth)
    frames = np.zeros(offsets[-1], parents.dtype)
    for level, (rows, at) in enumerate(levels):
        frames[offsets[rows] + level] = at
    return offsets, frames


def _frame_objects(segment: Segment, nodes: Column) -> pa.Array:
    """A JSON object for each node."""
    code, line = segment.node_code[nodes], segment.node_line[nodes]
    lines, which = np.unique(line, return_inverse=True)
    texts = [f',"line":{number},"function":' if number else ',"function":' for number in lines.tolist()]
    between = pa.array(texts, pa.string())
    return pc.binary_join_element_wise(
        '{"file":',
        _quoted(segment, segment.code_file[code]),
        between.take(pa.array(which)),
        _quoted(segment, segment.code_function[code]),
        "}",
        "",
    )


def _quoted(segment: Segment, strings: Column) -> pa.Array:
    """These strings as JSON."""
    known, which = rank(strings, len(segment.string_start))
    quoted = pa.array([orjson.dumps(segment.text(number)) for number in known.tolist()], pa.string())
    return quoted.take(pa.array(which))


def dictionary(indices: Column, values: Sequence[str | None] | pa.Array) -> pa.DictionaryArray:
    """A column of texts that repeat. What is null is null in the column, not in its dictionary."""
    if not isinstance(values, pa.Array):
        values = pa.array(values, pa.string())
    absent = None
    if values.null_count:
        absent = values.is_null().to_numpy(zero_copy_only=False)[indices]
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32(), mask=absent), values.fill_null(""))
