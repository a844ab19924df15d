"""A reference writer of segments, for tests only: written for being read beside docs/format/journal.md.

    writer = SegmentWriter()
    thread = writer.thread(slot=1, tid=100)
    thread.event("open", ["/etc/passwd", "r", 524288], stack=[("app.py", 3, "main")])
    writer.save(tmp_path)                      # DIR/journal/u<uid>/<time>-<process>-<sequence>.pyaudit

Time stands still unless it is told to pass (`writer.ticks += ...`). By default a tick is a nanosecond.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pythonaudit.journal import layout

Frame = tuple[str, int, str]

#: 2026-11-22T14:30:33.123456789Z
#: Code in files of these names is marked as the standard library's.
STDLIB = ("<frozen ", "/usr/lib/python3.11/")
BEGIN_NS = 1_795_357_833_123_456_789
ANCHOR_EVERY_TICKS = 1 << 24


class FullError(Exception):
    """The chunk has no room for this."""


def pack(shape: layout.Shape, **values: Any) -> bytes:
    return shape.struct.pack(*(values.get(name, 0) for name in shape.fields))


@dataclass
class Chunk:
    """One chunk: the heap grows up, the entries grow down."""

    kind: int
    size: int
    generation: int
    first_id: int = 0
    heap: bytearray = field(default_factory=bytearray)
    entries: list[bytes] = field(default_factory=list)

    @property
    def room(self) -> int:
        used = layout.CHUNK_HEADER_SIZE + len(self.heap)
        return self.size - used - len(self.entries) * layout.ENTRY_SIZES[self.kind]

    def add(self, shape: layout.Shape, heap: bytes = b"", **values: Any) -> None:
        if self.room < shape.size + len(heap):
            raise FullError
        if heap:
            values["heap"] = layout.CHUNK_HEADER_SIZE + len(self.heap)
        self.heap += heap
        self.entries.append(pack(shape, commit=self.generation, **values))

    def build(self) -> bytes:
        header = pack(
            layout.CHUNK,
            magic=layout.CHUNK_MAGIC,
            size=self.size,
            generation=self.generation,
            kind=self.kind,
            entry_size=layout.ENTRY_SIZES[self.kind],
            first_id=self.first_id,
        )
        entries = b"".join(reversed(self.entries))
        return header + self.heap + bytes(self.room) + entries


class ThreadWriter:
    """The events of one thread."""

    def __init__(self, segment: SegmentWriter, slot: int, tid: int, interpreter: int, number: int) -> None:
        self.segment = segment
        self.slot, self.tid, self.interpreter, self.number = slot, tid, interpreter, number
        self.chunk: Chunk | None = None
        self.anchor_ticks = 0

    def event(
        self,
        name: str,
        args: Sequence[Any] | bytes = (),
        *,
        stack: Sequence[Frame] | int = (),
        source: int = layout.SOURCE_INTERPRETER,
        notes: int = 0,
        inline: bool = False,
    ) -> None:
        """Records an event; `args` as bytes are written as they are, `stack` as int is a node id."""
        text = args if isinstance(args, bytes) else build_json(list(args))
        node = stack if isinstance(stack, int) else self.segment.stack(stack)
        heap, named = text, 0
        if inline:
            encoded = name.encode()
            heap += encoded
            named = layout.NAME_INLINE | len(encoded)
        else:
            named = self.segment.string(name)
        chunk = self._chunk(96 + len(heap))
        if self.segment.ticks - self.anchor_ticks > ANCHOR_EVERY_TICKS:
            self._anchor(chunk)
        chunk.add(
            layout.EVENT,
            heap,
            kind=layout.ENTRY_EVENT,
            source=source,
            notes=notes,
            ticks=self.segment.ticks,
            name=named,
            stack=node,
            length=len(text),
        )
        self.number += 1

    def count(self, name: str, count: int, source: int = layout.SOURCE_INTERPRETER) -> None:
        named = self.segment.string(name)
        self._chunk(32).add(layout.COUNT, kind=layout.ENTRY_COUNT, source=source, count=count, name=named)

    def context(self, fields: Mapping[str, Any] | str | None) -> None:
        """The events that follow are in this context; a text is written as it is."""
        text = fields if isinstance(fields, str) or fields is None else build_json(fields).decode()
        named = self.segment.string(text) if text else 0
        self._chunk(256).add(layout.CONTEXT, kind=layout.ENTRY_CONTEXT, fields=named)

    def named(self, name: str) -> None:
        """The thread is called so."""
        self._chunk(256).add(layout.THREAD, kind=layout.ENTRY_THREAD, name=self.segment.string(name))

    def trace(self, trace: bytes, span: bytes) -> None:
        """The events that follow are in this span; zeroes: in none."""
        self._chunk(256).add(layout.TRACE, kind=layout.ENTRY_TRACE, trace=trace, span=span)

    def enter(self, interpreter: int) -> None:
        """Goes on in another interpreter."""
        self.interpreter = interpreter
        self._owner(self._chunk(64))

    def take_over(self, other: ThreadWriter) -> None:
        """Goes on in the chunk of a thread that has ended."""
        self.chunk, other.chunk = other.chunk, None
        assert self.chunk is not None
        self._owner(self.chunk)

    def _chunk(self, bytes_: int) -> Chunk:
        if self.chunk is None or self.chunk.room < bytes_:
            size = max(self.segment.chunk_bytes, -(-(bytes_ + 128) // 4096) * 4096)
            self.chunk = self.segment.chunk(layout.CHUNK_EVENTS, size)
            self._owner(self.chunk)
        return self.chunk

    def _owner(self, chunk: Chunk) -> None:
        chunk.add(
            layout.OWNER,
            kind=layout.ENTRY_OWNER,
            slot=self.slot,
            tid=self.tid,
            interpreter=self.interpreter,
            number=self.number,
        )
        self._anchor(chunk)

    def _anchor(self, chunk: Chunk) -> None:
        ticks, monotonic, realtime = self.segment.now()
        self.anchor_ticks = ticks
        chunk.add(layout.ANCHOR, kind=layout.ENTRY_ANCHOR, ticks=ticks, monotonic=monotonic, realtime=realtime)


class SegmentWriter:
    """One segment of one process."""

    def __init__(
        self,
        *,
        process: bytes = bytes(range(0x10, 0x20)),
        sequence: int = 0,
        begin_ns: int = BEGIN_NS,
        hz: int = 1_000_000_000,
        chunk_bytes: int = 4096,
        attributes: Mapping[str, Any] | None = None,
        **header: Any,
    ) -> None:
        self.hz, self.begin_ns, self.chunk_bytes = hz, begin_ns, chunk_bytes
        self.ticks = self.begin_ticks = 5_000_000_000
        self.chunks: list[Chunk] = []
        self.strings: dict[str, int] = {}
        self.codes: dict[tuple[str, str, int], int] = {}
        self.nodes: dict[tuple[int, int, int], int] = {}
        self.stacks: dict[tuple[Frame, ...], int] = {}
        self.losses = [0] * layout.LOSS_SLOTS
        self.header: dict[str, Any] = {
            "format_major": layout.FORMAT_MAJOR,
            "header_size": layout.HEADER_SIZE,
            "process": process,
            "parent": bytes(16),
            "boot": bytes(range(0x40, 0x50)),
            "sequence": sequence,
            "pid": 123,
            "ppid": 1,
            "pid_start": 4567,
            "uid": os.geteuid(),
            "clock": layout.CLOCK_TSC,
            "way": layout.WAY_PRELOAD,
            "ticks_hz": hz,
            "canary": 1,
        } | header
        if attributes is None:
            attributes = {
                "python": "3.11.7",
                "implementation": "cpython",
                "exe": "/usr/bin/python3",
                "argv": ["app.py"],
                "cwd": "/srv",
                "host": "web-1",
                "recorder": "0.1.0",
            }
        self.meta(build_json(attributes))

    def now(self) -> tuple[int, int, int]:
        """Ticks, monotonic, realtime."""
        passed = (self.ticks - self.begin_ticks) * 1_000_000_000 // self.hz
        return self.ticks, 7_000_000_000 + passed, self.begin_ns + passed

    def chunk(self, kind: int, size: int, first_id: int = 0) -> Chunk:
        made = Chunk(kind, size, len(self.chunks) + 1, first_id)
        self.chunks.append(made)
        return made

    def thread(self, slot: int = 1, tid: int = 123, interpreter: int = 0, number: int = 0) -> ThreadWriter:
        return ThreadWriter(self, slot, tid, interpreter, number)

    def meta(self, text: bytes) -> None:
        size = -(-(layout.CHUNK_HEADER_SIZE + 32 + len(text)) // 4096) * 4096
        self.chunk(layout.CHUNK_EVENTS, size).add(
            layout.META, text, kind=layout.ENTRY_META, ticks=self.ticks, length=len(text)
        )

    def string(self, text: str) -> int:
        if text not in self.strings:
            encoded = text.encode()
            self._define(layout.STRING, layout.CHUNK_STRINGS, self.strings, encoded, length=len(encoded))
            self.strings[text] = len(self.strings) + 1
        return self.strings[text]

    def code(self, file: str, function: str, line: int) -> int:
        key = (file, function, line)
        if key not in self.codes:
            if file.startswith(STDLIB):
                line |= layout.CODE_STDLIB
            named = {"file": self.string(file), "function": self.string(function), "line": line}
            self._define(layout.CODE, layout.CHUNK_CODES, self.codes, **named)
            self.codes[key] = len(self.codes) + 1
        return self.codes[key]

    def node(self, parent: int, code: int, line: int) -> int:
        key = (parent, code, line)
        if key not in self.nodes:
            self._define(layout.NODE, layout.CHUNK_NODES, self.nodes, parent=parent, code=code, line=line)
            self.nodes[key] = len(self.nodes) + 1
        return self.nodes[key]

    def stack(self, frames: Sequence[Frame]) -> int:
        """The node of a stack, given innermost first."""
        key = tuple(frames)
        if key not in self.stacks:
            node = 0
            for file, line, function in reversed(key):
                node = self.node(node, self.code(file, function, 1), line)
            self.stacks[key] = node
        return self.stacks[key]

    def build(self, state: int = layout.STATE_CLEAN_END, **header: Any) -> bytes:
        """The bytes of the segment."""
        body = b"".join(chunk.build() for chunk in self.chunks)
        values = {"magic": layout.MAGIC, "state": state, "used": layout.HEADER_SIZE + len(body)}
        values |= {"begin_ticks": self.begin_ticks, "begin_monotonic": 7_000_000_000}
        values["begin_realtime"] = self.begin_ns
        if state != layout.STATE_OPEN:
            end = zip(("end_ticks", "end_monotonic", "end_realtime"), self.now(), strict=True)
            values |= dict(end)
        values["losses"] = struct.pack(f"<{layout.LOSS_SLOTS}Q", *self.losses)
        return pack(layout.HEADER, **(self.header | values | header)) + body

    def save(self, directory: Path, **options: Any) -> Path:
        """Writes the segment where a recorder would, under a directory like PYTHONAUDIT_DIR."""
        box = directory / "journal" / f"u{os.geteuid()}"
        box.mkdir(mode=0o700, parents=True, exist_ok=True)
        process = self.header["process"].hex()
        path = box / f"{self.begin_ns:016x}-{process}-{self.header['sequence']:06d}.pyaudit"
        path.write_bytes(self.build(**options))
        return path

    def _define(
        self, shape: layout.Shape, kind: int, known: Mapping[Any, int], heap: bytes = b"", **values: int
    ) -> None:
        last = next((chunk for chunk in reversed(self.chunks) if chunk.kind == kind), None)
        if last is None or last.room < shape.size + len(heap):
            size = -(-(layout.CHUNK_HEADER_SIZE + shape.size + len(heap)) // 4096) * 4096
            last = self.chunk(kind, max(size, self.chunk_bytes), len(known) + 1)
        last.add(shape, heap, **values)


def build_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
