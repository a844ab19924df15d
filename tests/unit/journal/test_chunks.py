"""Header and chain of chunks, sound and damaged."""

from __future__ import annotations

import struct

import pytest

from pythonaudit.errors import FormatError
from pythonaudit.journal import layout
from pythonaudit.journal.chunks import is_unbegun, parse_header, walk_chunks
from tests.journal_writer import SegmentWriter


def build(events: int = 70) -> bytearray:
    """Chunks of 4096 bytes: attributes, strings, events, events …"""
    writer = SegmentWriter()
    thread = writer.thread()
    for number in range(events):
        thread.event("open", [f"/tmp/{number:0100}"])
    return bytearray(writer.build())


def poke(data: bytearray, form: str, offset: int, value: int) -> None:
    struct.pack_into(f"<{form}", data, offset, value)


def test_header_fields() -> None:
    writer = SegmentWriter(process=b"\1" * 16, sequence=7, parent=b"\2" * 16, pid=99)
    writer.losses[4] = 12
    header = parse_header(writer.build())
    assert header.process == b"\1" * 16
    assert header.parent == b"\2" * 16
    assert (header.sequence, header.pid, header.state) == (7, 99, layout.STATE_CLEAN_END)
    assert header.losses == (0, 0, 0, 0, 12) + (0,) * 11


@pytest.mark.parametrize("size", [0, 1, 8, 4095])
def test_short_file_is_no_segment(size: int) -> None:
    with pytest.raises(FormatError, match="less than a header"):
        parse_header(bytes(build()[:size]))


def test_foreign_file_is_no_segment() -> None:
    with pytest.raises(FormatError, match="does not begin with PYAUDIT"):
        parse_header(b"#!/bin/sh\n" * 1000)


def test_later_major_version_is_refused() -> None:
    data = build()
    poke(data, "H", 8, 2)
    with pytest.raises(FormatError, match="journal format 2 is not known here") as caught:
        parse_header(data)
    assert caught.value.hint == "read it with a newer version of pythonaudit"


def test_unknown_incompatible_flag_is_refused_and_named() -> None:
    data = build()
    poke(data, "I", 16, 1 << 5)
    with pytest.raises(FormatError, match="flag 5 is not known here"):
        parse_header(data)


def test_later_minor_version_and_compatible_flags_are_read() -> None:
    data = build()
    poke(data, "H", 10, 9)
    poke(data, "I", 20, 0xFFFFFFFF)
    assert len(walk_chunks(data, parse_header(data))[0]) == 5


def test_segment_that_was_never_begun() -> None:
    assert is_unbegun(b"")
    assert is_unbegun(bytes(131072))
    half = build()[:4096]
    half[:8] = bytes(8)
    assert is_unbegun(half)
    assert not is_unbegun(build())
    lost_magic = build()
    lost_magic[:8] = bytes(8)
    assert not is_unbegun(lost_magic), "there are chunks: this one was begun, and is damaged"


def test_chain() -> None:
    data = build()
    chunks, damage = walk_chunks(data, parse_header(data))
    assert [chunk.offset for chunk in chunks] == [4096, 8192, 12288, 16384, 20480]
    assert [chunk.generation for chunk in chunks] == [1, 2, 3, 4, 5]
    assert damage == []


def test_unknown_kinds_and_longer_entries_are_stepped_over() -> None:
    data = build()
    poke(data, "H", 8192 + 12, 77)
    poke(data, "H", 8192 + 14, 24)
    poke(data, "H", 12288 + 14, 48)
    chunks, damage = walk_chunks(data, parse_header(data))
    assert [(chunk.kind, chunk.entry_size) for chunk in chunks][1:3] == [(77, 24), (1, 48)]
    assert damage == []


@pytest.mark.parametrize(
    ("form", "offset", "value"),
    [
        ("I", 0, 0x4B4E4844),  # magic
        ("I", 4, 0),  # size: none
        ("I", 4, 4095),  # no multiple of 4096
        ("I", 4, 1 << 31),  # behind the end
        ("I", 8, 0),  # generation
        ("H", 14, 31),  # entries shorter than in this version
        ("H", 14, 4096),  # longer than in any
    ],
)
def test_unsound_chunk_costs_itself_only(form: str, offset: int, value: int) -> None:
    data = build()
    poke(data, form, 12288 + offset, value)
    chunks, damage = walk_chunks(data, parse_header(data))
    assert [chunk.offset for chunk in chunks] == [4096, 8192, 16384, 20480]
    assert [(one.offset, one.length, one.reason) for one in damage] == [
        (12288, 4096, "no chunk where one should be")
    ]


@pytest.mark.parametrize("size", [8192, 12288])
def test_chunk_that_spans_others_is_found_out(size: int) -> None:
    data = build()
    poke(data, "I", 8192 + 4, size)
    chunks, damage = walk_chunks(data, parse_header(data))
    assert [chunk.offset for chunk in chunks] == [4096, 12288, 16384, 20480]
    assert [(one.offset, one.reason) for one in damage] == [(8192, f"chunk size {size} is wrong")]


def test_unpublished_chunk_is_no_damage() -> None:
    for offset in (12288, 20480):  # in the middle and at the end
        data = build()
        poke(data, "I", offset, 0)
        chunks, damage = walk_chunks(data, parse_header(data))
        assert len(chunks) == 4
        assert damage == []


def test_cut_file() -> None:
    data = build()[:17000]
    chunks, damage = walk_chunks(data, parse_header(data))
    assert [chunk.offset for chunk in chunks] == [4096, 8192, 12288]
    assert [(one.offset, one.length, one.reason) for one in damage] == [
        (17000, 24576 - 17000, "the file was cut"),
        (16384, 17000 - 16384, "no chunk where one should be"),
    ]


def test_wrong_used_hides_nothing() -> None:
    data = build()
    poke(data, "I", 176, 8192)
    chunks, damage = walk_chunks(data, parse_header(data))
    assert len(chunks) == 5
    assert [one.reason for one in damage] == ["a chunk ends at 24576, behind the end of all, 8192"]


def test_chunk_behind_used_of_an_open_segment_is_no_damage() -> None:
    data = build()
    poke(data, "I", 176, 20480)
    poke(data, "I", 76, layout.STATE_OPEN)
    chunks, damage = walk_chunks(data, parse_header(data))
    assert len(chunks) == 5
    assert damage == []


@pytest.mark.parametrize("value", [0, 100, 4097, 1 << 31])
def test_wrong_header_size(value: int) -> None:
    data = build()
    poke(data, "I", 12, value)
    chunks, damage = walk_chunks(data, parse_header(data))
    assert [(one.offset, one.reason) for one in damage] == [(12, f"header_size {value} makes no sense")]
    assert len(chunks) == 5


def test_allocated_but_unused_end_is_no_damage() -> None:
    data = build() + bytes(100_000)
    chunks, damage = walk_chunks(data, parse_header(data))
    assert len(chunks) == 5
    assert damage == []
