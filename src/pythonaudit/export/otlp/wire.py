r"""Bytes of protobuf: values and attributes of OTLP, without a message in between.

    >>> attribute(b"\x0a", "n", 5)
    b'\n\x07\n\x01n\x12\x02\x18\x05'

In protobuf, a message is its fields one after the other, and two messages one after the other are one with the fields
of both. So what repeats from event to event is written once and kept as bytes, and a record is a few pieces put
together; through message objects, it costs ten times as much (docs/adr/0038-otlp-in-bytes.md).

The tags are those of opentelemetry/proto/common/v1/common.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_INT_MIN, _INT_MAX = -(1 << 63), (1 << 63) - 1
_SHORT = 1 << 14  # two bytes
_KEYS = 4096  # known at once, and how long those are at most: they come from whoever wrote the journal
_KEY_MAX = 128

# AnyValue: string_value, bool_value, int_value, double_value, array_value, kvlist_value.
_STRING, _BOOL, _INT, _DOUBLE, _ARRAY, _KVLIST = b"\x0a", b"\x10", b"\x18", b"\x21", b"\x2a", b"\x32"
# KeyValue: key, value. ArrayValue and KeyValueList: values.
_KEY, _VALUE, _VALUES = b"\x0a", b"\x12", b"\x0a"


class _Varints(dict[int, bytes]):
    """Numbers from 0 to 2^64 - 1 as protobuf has them, each made once: nearly all are lengths, and short."""

    def __missing__(self, number: int) -> bytes:
        found, left = bytearray(), number
        while left >= 128:
            found.append(left & 127 | 128)
            left >>= 7
        found.append(left)
        made = bytes(found)
        if number < _SHORT:
            self[number] = made
        return made


varint = _Varints()


def field(tag: bytes, content: bytes) -> bytes:
    """A field that has a length: a text, bytes or a message.

    Args:
        tag: its number and the wire type 2.
        content: of it.
    """
    return tag + varint[len(content)] + content


def value(given: Any) -> bytes:
    """An AnyValue of a decoded JSON value. None is an empty one; a whole number of more than 64 bits is a text."""
    if isinstance(given, str):
        return field(_STRING, given.encode())
    if isinstance(given, bool):
        return _BOOL + varint[given]
    if isinstance(given, int):
        if not _INT_MIN <= given <= _INT_MAX:
            return field(_STRING, str(given).encode())
        return _INT + varint[given & 0xFFFF_FFFF_FFFF_FFFF]
    if isinstance(given, float):
        return _DOUBLE + struct.pack("<d", given)
    if isinstance(given, Mapping):
        return field(_KVLIST, b"".join(attribute(_VALUES, key, item) for key, item in given.items()))
    if isinstance(given, Sequence):
        return field(_ARRAY, b"".join(field(_VALUES, value(item)) for item in given))
    return b""


def attribute(tag: bytes, key: str, given: Any) -> bytes:
    """A field that is a KeyValue.

    Args:
        tag: as of `field`.
        key, given: as text and as decoded JSON.
    """
    start = _starts.get(key) or _start(key)
    if type(given) is str:
        text = given.encode()
        content = _STRING + varint[len(text)] + text
    else:
        content = value(given)
    length = varint[len(content)]
    return b"".join((tag, varint[len(start) + len(length) + len(content)], start, length, content))


def attributes(tag: bytes, pairs: Iterable[tuple[str, Any]]) -> bytes:
    """Fields that are KeyValues; those of None are left out."""
    return b"".join([attribute(tag, key, given) for key, given in pairs if given is not None])


_starts: dict[str, bytes] = {}


def _start(key: str) -> bytes:
    """A KeyValue up to the length of its value."""
    found = field(_KEY, key.encode()) + _VALUE
    if len(key) <= _KEY_MAX:
        if len(_starts) >= _KEYS:
            _starts.clear()
        _starts[key] = found
    return found
