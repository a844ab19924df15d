"""A stranger's reader: written from docs/format/journal.md alone, with the standard library alone.

It shares no line with the reader of the product, takes its numbers from the page, and prefers plain
loops to speed. Both are held against each other on every journal at hand.

    python stranger.py SEGMENT...        prints one JSON object a line for each event
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SOURCES = {1: "interpreter", 2: "stdlib", 3: "application"}
NOTES = [
    "truncated", "masked", "summarised", "items", "depth", "reserved-name", "stack-truncated",
    "name-changed", "no-stack", "context-cut",
]  # fmt: skip
REASONS = [
    "no-space", "no-journal", "no-memory", "limit", "evicted", "reentered", "unrecorded-child",
    "file-limit",
]  # fmt: skip
MINIMUM_ENTRY = {1: 32, 2: 16, 3: 16, 4: 16}


class NotASegmentError(Exception):
    """Section 2 or 12 says not to read this."""


@dataclass
class Chunk:
    offset: int
    size: int
    generation: int
    kind: int
    entry_size: int
    first_id: int


@dataclass
class Reading:
    """All that a segment says."""

    process: str
    state: int
    events: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    damaged: bool = False


class Segment:
    def __init__(self, data: bytes) -> None:
        self.data = data
        if len(data) < 4096 or data[:8] != b"PYAUDIT\n":
            raise NotASegmentError("no segment")
        if self.u32(76) == 4:
            raise NotASegmentError("being made into a later segment")
        if self.u16(8) != 1 or self.u32(16) != 0:
            raise NotASegmentError("a later format")
        self.damaged = False
        self.chunks = list(self.walk())
        self.strings = self.definitions(2)
        self.codes = self.definitions(3)
        self.nodes = self.definitions(4)

    def u16(self, at: int) -> int:
        return int(struct.unpack_from("<H", self.data, at)[0])

    def u32(self, at: int) -> int:
        return int(struct.unpack_from("<I", self.data, at)[0])

    def u64(self, at: int) -> int:
        return int(struct.unpack_from("<Q", self.data, at)[0])

    # -- section 3: chunks

    def sound(self, at: int) -> Chunk | None:
        if at + 64 > len(self.data) or self.u32(at) != 0x4B4E4843:
            return None
        chunk = Chunk(
            at, self.u32(at + 4), self.u32(at + 8), self.u16(at + 12), self.u16(at + 14), self.u32(at + 16)
        )
        if chunk.size == 0 or chunk.size % 4096 or at + chunk.size > len(self.data):
            return None
        if chunk.generation == 0:
            return None
        if not MINIMUM_ENTRY.get(chunk.kind, 1) <= chunk.entry_size <= 1024:
            return None
        return chunk

    def walk(self) -> Iterator[Chunk]:
        used, at = self.u32(176), self.u32(12)
        found: list[Chunk] = []
        if used > len(self.data):
            self.damaged = True
        if at % 4096 or not 4096 <= at <= len(self.data):
            self.damaged = True
            at = 4096
        while True:
            chunk = self.sound(at)
            if chunk is None:
                later = [self.sound(place) for place in range(at + 4096, min(used, len(self.data)), 4096)]
                chunk = next((c for c in later if c is not None), None)
                if chunk is None:
                    break
            if found and chunk.generation != found[-1].generation + 1:
                wide = found[-1]
                for place in range(wide.offset + 4096, wide.offset + wide.size, 4096):
                    inner = self.sound(place)
                    if inner is not None and inner.generation == wide.generation + 1:
                        found.pop()
                        chunk = inner
                        self.damaged = True
                        break
            found.append(chunk)
            at = chunk.offset + chunk.size
        yield from found

    def entries(self, chunk: Chunk) -> Iterator[int]:
        """Where each committed entry starts, in the segment."""
        at = chunk.offset + chunk.size - chunk.entry_size
        while at >= chunk.offset + 64 and self.u32(at) == chunk.generation:
            yield at
            at -= chunk.entry_size

    # -- section 4: definitions

    def definitions(self, kind: int) -> dict[int, tuple[Chunk, int]]:
        found = {}
        for chunk in self.chunks:
            if chunk.kind == kind:
                for index, at in enumerate(self.entries(chunk)):
                    found[chunk.first_id + index] = chunk, at
        return found

    def string(self, number: int) -> str:
        if number not in self.strings:
            return ""
        chunk, at = self.strings[number]
        start = chunk.offset + self.u32(at + 4)
        return self.data[start : start + self.u32(at + 8)].decode("utf-8", "replace")

    def stack(self, number: int) -> list[dict[str, Any]]:
        frames: list[dict[str, Any]] = []
        while number in self.nodes and len(frames) < 128:
            _, node = self.nodes[number]
            frame: dict[str, Any] = {"file": "", "function": ""}
            code_id = self.u32(node + 8)
            if code_id in self.codes:
                _, code = self.codes[code_id]
                frame = {"file": self.string(self.u32(code + 4)), "function": self.string(self.u32(code + 8))}
            if self.u32(node + 12):
                frame["line"] = self.u32(node + 12)
            frames.append(frame)
            parent = self.u32(node + 4)
            number = parent if parent < number else 0
        return frames

    # -- section 6: time

    def time(self, ticks: int, anchor: tuple[int, int, int]) -> int:
        begin_ticks, begin_monotonic = self.u64(128), self.u64(136)
        passed_ticks = signed(anchor[0] - begin_ticks)
        passed_ns = signed(anchor[1] - begin_monotonic)
        hz = 0
        if passed_ns >= 10_000_000 and passed_ticks > 0:
            while passed_ns >= 1 << 33:
                passed_ns //= 2
                passed_ticks //= 2
            hz = (passed_ticks * 10**9 + passed_ns // 2) // passed_ns
        if not 10**6 <= hz <= 1 << 33:
            hz = self.u64(120)
        if not 10**6 <= hz <= 1 << 33:
            hz = 10**9
        time = anchor[2] + signed(ticks - anchor[0]) * 10**9 // hz
        return min(max(time, 0), (1 << 63) - 1)

    # -- sections 5, 7, 8, 9

    def read(self) -> Reading:
        reading = Reading(self.data[24:40].hex(), self.u32(76), damaged=self.damaged)
        attributes: list[tuple[int, dict[str, Any]]] = []
        for chunk in self.chunks:
            if chunk.kind == 1:
                self.read_events(chunk, reading, attributes)
        for _, found in sorted(attributes, key=lambda pair: pair[0]):
            reading.attributes.update(found)
        for index in range(16):
            count = self.u64(256 + 8 * index)
            if count:
                reason = REASONS[index] if index < len(REASONS) else f"reason-{index}"
                reading.losses[reason] = count
        return reading

    def read_events(self, chunk: Chunk, reading: Reading, attributes: list[tuple[int, dict[str, Any]]]) -> None:
        entries = list(self.entries(chunk))
        bottom = chunk.size - len(entries) * chunk.entry_size
        slot = tid = interpreter = number = -1
        fields, trace, span, called = 0, bytes(16), bytes(8), 0
        anchor = self.u64(128), self.u64(136), self.u64(144)
        heap_bytes = 0
        for at in entries:
            kind = self.data[at + 4]
            if kind == 2:
                slot, tid, interpreter = self.u32(at + 8), self.u32(at + 12), self.u32(at + 16)
                number = self.u64(at + 24)
                fields, trace, span, called = 0, bytes(16), bytes(8), 0
            elif kind == 8:
                called = self.u32(at + 8)
            elif kind == 6:
                fields = self.u32(at + 8)
            elif kind == 7:
                trace, span = self.data[at + 8 : at + 24], self.data[at + 24 : at + 32]
            elif kind == 3:
                anchor = self.u64(at + 8), self.u64(at + 16), self.u64(at + 24)
            elif kind == 4:
                key = self.string(self.u32(at + 16)), SOURCES.get(self.data[at + 5], "unknown")
                reading.counts[key] = reading.counts.get(key, 0) + self.u64(at + 8)
            elif kind == 5:
                start, length = self.u32(at + 24), self.u32(at + 28)
                if start >= 64 and length <= 65536 and start + length <= bottom:
                    text = self.data[chunk.offset + start : chunk.offset + start + length]
                    found = parse(text)
                    if isinstance(found, dict):
                        attributes.append((self.u64(at + 8), found))
            elif kind == 1:
                name, start, length = self.u32(at + 16), self.u32(at + 24), self.u32(at + 28)
                inline = name & 0x7FFFFFFF if name & 0x80000000 else 0
                inside = start >= 64 and start + length + inline <= bottom and length <= 16384 and inline <= 4096
                if inside:
                    heap_bytes += length + inline
                    inside = heap_bytes <= chunk.size
                if slot >= 0 and (inside or length + inline == 0):
                    begin = chunk.offset + start
                    end = begin + length
                    event = {
                        "slot": slot,
                        "number": number,
                        "time_ns": self.time(self.u64(at + 8), anchor),
                        "event": self.data[end : end + inline].decode("utf-8", "replace")
                        if name & 0x80000000
                        else self.string(name),
                        "source": SOURCES.get(self.data[at + 5], "unknown"),
                        "args": self.arguments(self.data[begin:end]),
                        "tid": tid,
                        "thread": self.string(called),
                        "interpreter": interpreter,
                        "stack": self.stack(self.u32(at + 20)),
                        "context": self.context(fields, trace, span),
                        "notes": [n for bit, n in enumerate(NOTES) if self.u16(at + 6) >> bit & 1],
                    }
                    reading.events.append(event)
                number += 1

    def context(self, string: int, trace: bytes, span: bytes) -> dict[str, Any]:
        text = self.string(string)
        found = parse(text.encode()) if len(text.encode()) <= 4096 else None
        shown = dict(found) if isinstance(found, dict) else {}
        for value in shown.values():
            tagged = isinstance(value, dict) and len(value) == 1
            if isinstance(value, list) or (isinstance(value, dict) and not tagged):
                return self.context(0, trace, span)
            if tagged and any(isinstance(inner, dict | list) for inner in value.values()):
                return self.context(0, trace, span)
        if any(trace):
            shown.setdefault("trace_id", trace.hex())
            shown.setdefault("span_id", span.hex())
        return shown

    def arguments(self, text: bytes) -> list[Any]:
        found = parse(text) if text else []
        return self.resolve(found) if isinstance(found, list) else []

    def resolve(self, value: Any) -> Any:
        """Puts texts in place of their ids (section 8)."""
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if isinstance(value, dict):
            if next(iter(value), "") == "$length" and "$text" in value:
                return value | {"$text": self.string(value["$text"])}
            return {key: self.resolve(item) for key, item in value.items()}
        return value


def parse(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8"))
    except ValueError:
        return None


def signed(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def read(path: Path) -> Reading:
    """Section 11, 4: the file may have become another segment while it was read."""
    with path.open("rb") as file:
        data = file.read()
        file.seek(0)
        again = file.read(4096)
    identity = slice(24, 40), slice(72, 76), slice(144, 152)  # process, sequence, begin_realtime
    if any(data[part] != again[part] for part in identity) or again[76:80] == b"\4\0\0\0":
        raise NotASegmentError("it was made into a later segment meanwhile")
    return Segment(data).read()


if __name__ == "__main__":
    for name in sys.argv[1:]:
        reading = read(Path(name))
        for event in reading.events:
            print(json.dumps({"process": reading.process, **event}))
