"""The format in numbers: docs/format/journal.md and native/format.h, once more for Python.

A `Shape` is one structure: its size, and offset and `struct` code of each field that means something
(padding and reserved fields are not listed). Everything is little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any

MAGIC = b"PYAUDIT\n"
FORMAT_MAJOR = 1
HEADER_SIZE = 4096
CHUNK_HEADER_SIZE = 64
CHUNK_MAGIC = 0x4B4E4843
CHUNK_ALIGN = 4096
SEGMENT_MAX = 4 << 20

INCOMPATIBLE_KNOWN = 0

STATE_OPEN, STATE_ROTATED, STATE_CLEAN_END, STATE_VOID = 1, 2, 3, 4
CLOCK_MONOTONIC, CLOCK_TSC, CLOCK_CNTVCT = 1, 2, 3
CANARY_NOT_SEEN, CANARY_SEEN = 0, 1
WAY_PRELOAD, WAY_SITE, WAY_FORK, WAY_COMMAND, WAY_AGENT = 1, 2, 3, 4, 5
CHUNK_EVENTS, CHUNK_STRINGS, CHUNK_CODES, CHUNK_NODES = 1, 2, 3, 4
ENTRY_EVENT, ENTRY_OWNER, ENTRY_ANCHOR, ENTRY_COUNT, ENTRY_META = 1, 2, 3, 4, 5
ENTRY_CONTEXT, ENTRY_TRACE, ENTRY_THREAD = 6, 7, 8
SOURCE_INTERPRETER, SOURCE_STDLIB, SOURCE_APPLICATION = 1, 2, 3

NAME_INLINE = 0x80000000
CODE_STDLIB = 1 << 31

STATES = {STATE_OPEN: "open", STATE_ROTATED: "rotated", STATE_CLEAN_END: "clean-end"}
WAYS = {
    WAY_PRELOAD: "preload",
    WAY_SITE: "site",
    WAY_FORK: "fork",
    WAY_COMMAND: "command",
    WAY_AGENT: "agent",
}
SOURCES = {
    SOURCE_INTERPRETER: "interpreter",
    SOURCE_STDLIB: "stdlib",
    SOURCE_APPLICATION: "application",
}

# By bit, from bit 0.
NOTES = (
    "truncated",
    "masked",
    "summarised",
    "items",
    "depth",
    "reserved-name",
    "stack-truncated",
    "name-changed",
    "no-stack",
    "context-cut",
)

# By index in the header's `losses`.
LOSS_SLOTS = 16
LOSSES = (
    "no-space",
    "no-journal",
    "no-memory",
    "limit",
    "evicted",
    "reentered",
    "unrecorded-child",
    "file-limit",
)
LOSS_DAMAGED = "damaged"
LOSS_MISSING = "missing-segments"
# What counts events; the others count children, bytes, segments.
EVENT_LOSSES = frozenset(LOSSES) - {"unrecorded-child"}

# Limits of what a writer may write; more is damage.
NAME_MAX_BYTES = 4096
ARGUMENTS_MAX_BYTES = 16384
STRING_MAX_BYTES = 65536
META_MAX_BYTES = 65536
CONTEXT_MAX_BYTES = 4096
STACK_MAX_NODES = 128
DEPTH_MAX = 32  # of arguments; the recorder stops at 6
ENTRY_MAX_BYTES = 1024
TICKS_HZ_MIN, TICKS_HZ_MAX = 10**6, 1 << 33


@dataclass(frozen=True)
class Shape:
    """One structure of the format."""

    name: str
    size: int
    fields: dict[str, tuple[int, str]]

    @cached_property
    def struct(self) -> struct.Struct:
        """The listed fields, in order; what lies between them is skipped."""
        form, end = "<", 0
        for offset, code in self.fields.values():
            form += f"{offset - end}x{code}"
            end = offset + struct.calcsize(f"<{code}")
        return struct.Struct(f"{form}{self.size - end}x")

    def unpack(self, data: bytes | bytearray | memoryview, offset: int = 0) -> dict[str, Any]:
        """The fields at an offset. The caller has checked that `size` bytes are there."""
        return dict(zip(self.fields, self.struct.unpack_from(data, offset), strict=True))


HEADER = Shape(
    "pa_header",
    HEADER_SIZE,
    {
        "magic": (0, "8s"),
        "format_major": (8, "H"),
        "format_minor": (10, "H"),
        "header_size": (12, "I"),
        "incompatible": (16, "I"),
        "compatible": (20, "I"),
        "process": (24, "16s"),
        "parent": (40, "16s"),
        "boot": (56, "16s"),
        "sequence": (72, "I"),
        "state": (76, "I"),
        "pid": (80, "I"),
        "ppid": (84, "I"),
        "pid_start": (88, "Q"),
        "pid_namespace": (96, "Q"),
        "uid": (104, "I"),
        "gid": (108, "I"),
        "clock": (112, "I"),
        "way": (116, "I"),
        "ticks_hz": (120, "Q"),
        "begin_ticks": (128, "Q"),
        "begin_monotonic": (136, "Q"),
        "begin_realtime": (144, "Q"),
        "end_ticks": (152, "Q"),
        "end_monotonic": (160, "Q"),
        "end_realtime": (168, "Q"),
        "used": (176, "I"),
        "canary": (180, "I"),
        "drained": (184, "I"),
        "beat_monotonic": (192, "Q"),
        "beat_realtime": (200, "Q"),
        "losses": (256, "128s"),  # LOSS_SLOTS times u64
    },
)

CHUNK = Shape(
    "pa_chunk",
    CHUNK_HEADER_SIZE,
    {
        "magic": (0, "I"),
        "size": (4, "I"),
        "generation": (8, "I"),
        "kind": (12, "H"),
        "entry_size": (14, "H"),
        "first_id": (16, "I"),
    },
)

EVENT = Shape(
    "pa_entry",
    32,
    {
        "commit": (0, "I"),
        "kind": (4, "B"),
        "source": (5, "B"),
        "notes": (6, "H"),
        "ticks": (8, "Q"),
        "name": (16, "I"),
        "stack": (20, "I"),
        "heap": (24, "I"),
        "length": (28, "I"),
    },
)

OWNER = Shape(
    "pa_owner",
    32,
    {
        "commit": (0, "I"),
        "kind": (4, "B"),
        "slot": (8, "I"),
        "tid": (12, "I"),
        "interpreter": (16, "I"),
        "number": (24, "Q"),
    },
)

ANCHOR = Shape(
    "pa_anchor",
    32,
    {
        "commit": (0, "I"),
        "kind": (4, "B"),
        "ticks": (8, "Q"),
        "monotonic": (16, "Q"),
        "realtime": (24, "Q"),
    },
)

COUNT = Shape(
    "pa_count",
    32,
    {"commit": (0, "I"), "kind": (4, "B"), "source": (5, "B"), "count": (8, "Q"), "name": (16, "I")},
)

META = Shape(
    "pa_meta",
    32,
    {"commit": (0, "I"), "kind": (4, "B"), "ticks": (8, "Q"), "heap": (24, "I"), "length": (28, "I")},
)

CONTEXT = Shape(
    "pa_context_entry",
    32,
    {"commit": (0, "I"), "kind": (4, "B"), "fields": (8, "I")},
)

TRACE = Shape(
    "pa_trace",
    32,
    {"commit": (0, "I"), "kind": (4, "B"), "trace": (8, "16s"), "span": (24, "8s")},
)

THREAD = Shape(
    "pa_thread_entry",
    32,
    {"commit": (0, "I"), "kind": (4, "B"), "name": (8, "I")},
)

STRING = Shape(
    "pa_string",
    16,
    {"commit": (0, "I"), "heap": (4, "I"), "length": (8, "I"), "flags": (12, "I")},
)

CODE = Shape(
    "pa_code",
    16,
    {"commit": (0, "I"), "file": (4, "I"), "function": (8, "I"), "line": (12, "I")},
)

NODE = Shape(
    "pa_node",
    16,
    {"commit": (0, "I"), "parent": (4, "I"), "code": (8, "I"), "line": (12, "I")},
)

# How far a process has been read out, in DIR/drained/<process>: see `drained`.
DRAINED_MAGIC = b"PYDRAIN\n"
DRAINED = struct.Struct("<8s16sII")

SHAPES = (HEADER, CHUNK, EVENT, OWNER, ANCHOR, COUNT, META, CONTEXT, TRACE, THREAD, STRING, CODE, NODE)

# Entry sizes of the chunk kinds of this version; a later one may have longer entries.
ENTRY_SIZES = {
    CHUNK_EVENTS: EVENT.size,
    CHUNK_STRINGS: STRING.size,
    CHUNK_CODES: CODE.size,
    CHUNK_NODES: NODE.size,
}
