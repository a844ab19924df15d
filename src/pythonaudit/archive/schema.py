"""The columns of the archive: the only list of them, and how each is written.

Three tables. `events` has one row an event, `stacks` one a stack (as in the journal: a frame and the stack
of its caller), `segments` one for each segment of the journal that was archived. What each column means is in
docs/format/archive.md; a test holds the two together.

Types are those that every engine reads: signed integers, UTF-8, booleans, microseconds in UTC. What repeats
is written as a dictionary, what grows steadily as differences; the rest is left to zstd.
"""

from __future__ import annotations

import pyarrow as pa

_MOMENT = pa.timestamp("us", "UTC")
_NUMBER = pa.int64()
_TEXT = pa.string()

EVENTS = pa.schema(
    [
        ("time", _MOMENT),
        ("nanosecond", pa.int16()),
        ("event", _TEXT),
        ("category", _TEXT),
        ("source", _TEXT),
        ("template", _TEXT),
        ("args", _TEXT),
        ("fields", _TEXT),
        ("path", _TEXT),
        ("target", _TEXT),
        ("address", _TEXT),
        ("port", pa.int32()),
        ("command", _TEXT),
        ("module", _TEXT),
        ("url", _TEXT),
        ("process", _TEXT),
        ("slot", _NUMBER),
        ("number", _NUMBER),
        ("sequence", _NUMBER),
        ("host", _TEXT),
        ("boot", _TEXT),
        ("pid", _NUMBER),
        ("ppid", _NUMBER),
        ("tid", _NUMBER),
        ("thread", _TEXT),
        ("interpreter", _NUMBER),
        ("run", _TEXT),
        ("python", _TEXT),
        ("exe", _TEXT),
        ("argv", _TEXT),
        ("cwd", _TEXT),
        ("uid", _NUMBER),
        ("user", _TEXT),
        ("batch", _TEXT),
        ("stack", _NUMBER),
        ("file", _TEXT),
        ("line", _NUMBER),
        ("function", _TEXT),
        ("package", _TEXT),
        ("version", _TEXT),
        ("context", _TEXT),
        ("notes", pa.list_(_TEXT)),
    ]
)

STACKS = pa.schema(
    [
        ("batch", _TEXT),
        ("stack", _NUMBER),
        ("parent", _NUMBER),
        ("file", _TEXT),
        ("line", _NUMBER),
        ("function", _TEXT),
        ("library", pa.bool_()),
        ("package", _TEXT),
        ("version", _TEXT),
    ]
)

SEGMENTS = pa.schema(
    [
        ("process", _TEXT),
        ("sequence", _NUMBER),
        ("batch", _TEXT),
        ("parent", _TEXT),
        ("host", _TEXT),
        ("boot", _TEXT),
        ("pid", _NUMBER),
        ("ppid", _NUMBER),
        ("pid_start", _NUMBER),
        ("pid_namespace", _NUMBER),
        ("uid", _NUMBER),
        ("user", _TEXT),
        ("way", _TEXT),
        ("canary", pa.bool_()),
        ("run", _TEXT),
        ("python", _TEXT),
        ("exe", _TEXT),
        ("argv", _TEXT),
        ("cwd", _TEXT),
        ("attributes", _TEXT),
        ("begin", _MOMENT),
        ("end", _MOMENT),
        ("begin_ns", _NUMBER),
        ("end_ns", _NUMBER),
        ("state", _TEXT),
        ("drained", _NUMBER),
        ("file", _TEXT),
        ("events", _NUMBER),
        ("counts", _TEXT),
        ("losses", _TEXT),
        ("damage", _TEXT),
    ]
)

TABLES = {"events": EVENTS, "stacks": STACKS, "segments": SEGMENTS}

# Grow steadily within a process, or a table.
DIFFERENCES = frozenset({"time", "number", "stack", "parent", "begin", "end", "begin_ns", "end_ns"})
# Hardly ever the same twice.
PLAIN = frozenset({"args", "fields"})
