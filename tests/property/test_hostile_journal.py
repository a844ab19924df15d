"""Any bytes at all: the reader reports, and never raises anything but FormatError.

Damage in one chunk costs nothing of the others: their events still come out, exactly as before.
"""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pythonaudit.journal import layout
from pythonaudit.journal.chunks import parse_header, walk_chunks
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.segment import parse_segment
from tests.fuzz.fuzz_reader import read_everything
from tests.journal_writer import SegmentWriter
from tests.journals import SAMPLES

SEGMENTS = {name: sample() for name, sample in SAMPLES.items()}

places = st.tuples(st.integers(0, 1 << 17), st.binary(min_size=1, max_size=8))
words = st.sampled_from([0, 1, 2, 63, 64, 4095, 4096, 1 << 16, 1 << 22, 1 << 31, (1 << 31) - 1, (1 << 32) - 1])


@given(st.sampled_from(sorted(SEGMENTS)), st.lists(places, min_size=1, max_size=10))
@settings(max_examples=300, deadline=None)
def test_any_bytes_changed(name: str, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(SEGMENTS[name])
    for place, new in changes:
        place %= len(data)
        data[place : place + len(new)] = new
    read_everything(bytes(data))


@given(st.data(), st.sampled_from(sorted(SEGMENTS)))
@settings(max_examples=300, deadline=None)
def test_any_number_forged(data: st.DataObject, name: str) -> None:
    """Where numbers stand: header, chunk headers, entries."""
    segment = bytearray(SEGMENTS[name])
    chunks, _ = walk_chunks(segment, parse_header(segment))
    for _ in range(data.draw(st.integers(1, 6))):
        chunk = data.draw(st.sampled_from(chunks))
        kind = data.draw(st.sampled_from(["header", "chunk", "entry"]))
        if kind == "header":
            place = data.draw(st.integers(2, 64)) * 4
        elif kind == "chunk":
            place = chunk.offset + data.draw(st.integers(0, 5)) * 4
        else:
            index = data.draw(st.integers(0, min(chunk.capacity, 120) - 1))
            word = data.draw(st.integers(0, chunk.entry_size // 4 - 1))
            place = chunk.end - (index + 1) * chunk.entry_size + word * 4
        struct.pack_into("<I", segment, place, data.draw(st.one_of(words, st.integers(0, (1 << 32) - 1))))
    read_everything(bytes(segment))


@given(st.binary(max_size=20000))
@settings(max_examples=100, deadline=None)
def test_any_bytes_behind_a_header(body: bytes) -> None:
    header = bytearray(SEGMENTS["plain"][:4096])
    struct.pack_into("<I", header, 176, 4096 + len(body))
    read_everything(bytes(header) + body)


def small() -> bytes:
    writer = SegmentWriter()
    thread = writer.thread()
    for number in range(3):
        thread.event(f"login: user={number}", [number], inline=True)
    return writer.build()


def many_chunks() -> bytes:
    writer = SegmentWriter()
    first, second = writer.thread(1), writer.thread(2)
    for number in range(120):
        writer.ticks += 1000
        first.event("open", [f"/srv/{number:060}"], stack=[("a.py", number % 7, "f"), ("a.py", 9, "g")])
        second.event(f"login: user={number}", [number], inline=True)
    return writer.build()


def test_cut_anywhere() -> None:
    """Of a file that was cut, every whole chunk is read, and nothing else."""
    data = many_chunks()
    chunks, _ = walk_chunks(data, parse_header(data))
    segment = parse_segment(data)
    decoder = SegmentDecoder(segment, 0)
    lines = [event.to_json() for event in decoder.events(np.arange(len(segment.events)))]
    starts = segment.events.start.tolist()
    ends = [next(chunk.end for chunk in chunks if chunk.offset < start < chunk.end) for start in starts]
    near = {chunk.end + step for chunk in chunks for step in (-65, -33, -32, -1, 0, 1, 63, 64, 65)}
    for size in sorted(near | set(range(0, len(data), 1021))):
        if size < len(data):
            expected = [line for line, end in zip(lines, ends, strict=True) if end <= size]
            assert read_everything(data[:size]) == expected
    assert read_everything(data) == lines


def test_cut_at_every_byte_of_a_small_segment() -> None:
    data = small()
    assert len(read_everything(data)) == 3
    for size in range(len(data)):
        assert read_everything(data[:size]) == [], "its events are in its last chunk"


def test_every_bit_flipped_in_turn() -> None:
    """The whole of a small segment: header fields, chunk headers, entries, used heap."""
    data = small()
    used = [place for place in range(len(data)) if data[place] or data[max(0, place - 8) : place + 8].strip(b"\0")]
    for place in used:
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            read_everything(bytes(flipped))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_events_of_intact_chunks_come_out(data: st.DataObject) -> None:
    """One events chunk is overwritten anywhere, its header included."""
    segment = bytearray(many_chunks())
    chunks, _ = walk_chunks(segment, parse_header(segment))
    victim = data.draw(st.sampled_from([c for c in chunks[1:] if c.kind == layout.CHUNK_EVENTS]))
    whole = parse_segment(segment)
    decoder = SegmentDecoder(whole, 0)
    inside = (whole.events.start >= victim.offset) & (whole.events.start < victim.end)
    survivors = {e.to_json() for e in decoder.events(np.flatnonzero(~inside))}
    assert 0 < len(survivors) < len(whole.events)
    for _ in range(data.draw(st.integers(1, 5))):
        new = data.draw(st.binary(min_size=1, max_size=64))
        place = data.draw(st.one_of(st.integers(0, 24), st.integers(0, victim.size - len(new))))
        segment[victim.offset + place : victim.offset + place + len(new)] = new
    assert survivors <= set(read_everything(bytes(segment)))
