"""Entries and definitions of one segment: order, owners, times, bounds."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest

from pythonaudit.journal import layout
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.segment import Segment, count_committed, parse_segment
from tests.journal_writer import BEGIN_NS, Chunk, SegmentWriter
from tests.journals import SAMPLES


def numbers(segment: Segment) -> list[tuple[int, int]]:
    """Slot and number of each event."""
    events = segment.events
    return list(zip(events.slot.tolist(), events.number.tolist(), strict=True))


def arguments(segment: Segment) -> list[bytes]:
    events = segment.events
    ranges = zip(events.start.tolist(), events.length.tolist(), strict=True)
    return [bytes(segment.data[start : start + length]) for start, length in ranges]


def reasons(segment: Segment) -> list[str]:
    return [one.reason for one in segment.damage]


def chunk_of(writer: SegmentWriter, kind: int) -> Chunk:
    return next(chunk for chunk in reversed(writer.chunks) if chunk.kind == kind)


def change(chunk: Chunk, shape: layout.Shape, index: int, **values: int) -> None:
    """Changes fields of an entry that the writer has already made."""
    fields = shape.unpack(chunk.entries[index]) | values
    chunk.entries[index] = shape.struct.pack(*fields.values())


def test_columns_of_an_event() -> None:
    writer = SegmentWriter()
    thread = writer.thread(slot=3, tid=77, interpreter=2, number=1000)
    writer.ticks += 1_500
    stack = [("app.py", 12, "load"), ("app.py", 30, "main")]
    thread.event("open", ["/etc/passwd", "r", 0], stack=stack, source=layout.SOURCE_STDLIB, notes=5)
    segment = parse_segment(writer.build())
    events = segment.events
    assert numbers(segment) == [(3, 1000)]
    assert events.time.tolist() == [BEGIN_NS + 1_500]
    assert (events.tid.tolist(), events.interpreter.tolist()) == ([77], [2])
    assert (events.source.tolist(), events.notes.tolist()) == ([layout.SOURCE_STDLIB], [5])
    assert segment.text(int(events.name[0])) == "open"
    assert arguments(segment) == [b'["/etc/passwd","r",0]']
    assert segment.stack(int(events.stack[0])) == stack
    assert segment.damage == []


def test_numbers_go_on_from_chunk_to_chunk() -> None:
    writer = SegmentWriter()
    first, second = writer.thread(1), writer.thread(2, number=50)
    for _ in range(100):
        first.event("open", ["x" * 100])
        second.event("exec", ["y" * 100])
    segment = parse_segment(writer.build())
    assert sorted(numbers(segment)) == [(1, n) for n in range(100)] + [(2, n) for n in range(50, 150)]


def test_owner_in_the_middle_of_a_chunk() -> None:
    writer = SegmentWriter()
    first, second = writer.thread(1, tid=10), writer.thread(2, tid=20)
    first.event("open")
    first.enter(interpreter=3)
    first.event("open")
    second.take_over(first)
    second.event("open")
    events = parse_segment(writer.build()).events
    assert events.slot.tolist() == [1, 1, 2]
    assert events.number.tolist() == [0, 1, 0]
    assert events.interpreter.tolist() == [0, 3, 0]
    assert events.tid.tolist() == [10, 10, 20]


def test_entries_of_other_kinds_are_no_events() -> None:
    writer = SegmentWriter()
    thread = writer.thread()
    thread.event("open")
    thread.count("builtins.id", 7)
    assert thread.chunk is not None
    thread.chunk.add(layout.COUNT, kind=200, source=1)
    thread.event("exec")
    segment = parse_segment(writer.build())
    assert numbers(segment) == [(1, 0), (1, 1)]
    assert [(segment.text(c.name), c.source, c.count) for c in segment.counts] == [("builtins.id", 1, 7)]
    assert segment.damage == []


def test_uncommitted_entry_ends_the_chunk() -> None:
    writer = SegmentWriter()
    thread = writer.thread()
    for _ in range(5):
        thread.event("open")
    chunk = chunk_of(writer, layout.CHUNK_EVENTS)
    change(chunk, layout.EVENT, 4, commit=0)  # entries 0 and 1 are owner and anchor
    assert numbers(parse_segment(writer.build())) == [(1, 0), (1, 1)]


def test_entries_of_another_generation_do_not_count() -> None:
    writer = SegmentWriter()
    thread = writer.thread()
    thread.event("open")
    chunk = chunk_of(writer, layout.CHUNK_EVENTS)
    chunk.generation += 1000
    assert numbers(parse_segment(writer.build())) == []


def test_what_is_committed_only_in_the_later_copy_is_left_for_next_time() -> None:
    writer = SegmentWriter()
    thread = writer.thread()
    thread.event("open")
    earlier = count_committed(writer.build())
    thread.event("exec")
    writer.thread(2).event("import")
    segment = parse_segment(writer.build(), earlier)
    assert numbers(segment) == [(1, 0)]
    rest = parse_segment(writer.build(), None, segment.positions)
    assert sorted(numbers(rest)) == [(1, 1), (2, 0)]
    assert numbers(parse_segment(writer.build(), None, rest.positions)) == []


def test_inline_name_stands_behind_the_arguments() -> None:
    writer = SegmentWriter()
    writer.thread().event("Größe: a=1", [1, 2], inline=True)
    segment = parse_segment(writer.build())
    events = segment.events
    end = int(events.start[0] + events.length[0])
    assert bytes(segment.data[end : end + int(events.inline[0])]).decode() == "Größe: a=1"
    assert events.name.tolist() == [0]
    assert arguments(segment) == [b"[1,2]"]


def test_time_is_that_of_the_nearest_anchor() -> None:
    """A clock of 2.5 GHz whose estimate in the header is off by a third."""
    writer = SegmentWriter(hz=2_500_000_000, ticks_hz=1_666_666_666)
    thread = writer.thread()
    times = []
    for _ in range(50):
        writer.ticks += 7_500_000  # 3 ms
        thread.event("open")
        times.append(writer.now()[2])
    found = parse_segment(writer.build()).events.time.tolist()
    assert found[:3] != times[:3], "too early for anything but the estimate"
    assert found[10:] == times[10:]


def test_times_do_not_change_while_the_segment_grows() -> None:
    writer = SegmentWriter(hz=2_345_678_901, ticks_hz=2_300_000_000)
    thread = writer.thread()
    seen: list[int] = []
    for _ in range(60):
        writer.ticks += 9_876_543
        thread.event("open")
        times = parse_segment(writer.build(layout.STATE_OPEN)).events.time.tolist()
        assert times[:-1] == seen
        seen = times


def test_event_before_its_anchor() -> None:
    writer = SegmentWriter()
    thread = writer.thread()
    writer.ticks += 1000
    thread.event("open")
    change(chunk_of(writer, layout.CHUNK_EVENTS), layout.EVENT, 2, ticks=writer.ticks - 300)
    assert parse_segment(writer.build()).events.time.tolist() == [BEGIN_NS + 700]


def test_attributes_in_the_order_of_ticks() -> None:
    writer = SegmentWriter(attributes={"cwd": "/"})
    for number in (3, 1, 2):
        writer.ticks += number
        writer.meta(b'{"n":%d}' % number)
    writer.chunks.reverse()
    for generation, chunk in enumerate(writer.chunks, 1):
        chunk.generation = generation
        change(chunk, layout.META, 0, commit=generation)
    assert parse_segment(writer.build()).attributes == [b'{"cwd":"/"}', b'{"n":3}', b'{"n":1}', b'{"n":2}']


def test_text_that_is_not_utf8_is_repaired() -> None:
    writer = SegmentWriter()
    writer.thread().event("open")
    chunk_of(writer, layout.CHUNK_STRINGS).heap[:] = b"o\xffen"
    segment = parse_segment(writer.build())
    assert segment.text(int(segment.events.name[0])) == "o\ufffden"


# -- hostile


def hostile(edit: Callable[[Chunk], None], kind: int = layout.CHUNK_EVENTS) -> Segment:
    """A segment of three events, after an edit of its last chunk of a kind."""
    writer = SegmentWriter()
    thread = writer.thread()
    for number in range(3):
        thread.event("open", [number], stack=[("a.py", number + 1, "f"), ("a.py", 9, "g")])
    edit(chunk_of(writer, kind))
    return parse_segment(writer.build())


def edit_event(**values: int) -> Callable[[Chunk], None]:
    return lambda chunk: change(chunk, layout.EVENT, 3, **values)


@pytest.mark.parametrize(
    "values",
    [
        {"heap": 63},
        {"heap": 4096},
        {"heap": 0xFFFFFFFF},
        {"length": 16385},
        {"length": 0xFFFFFFFF},
        {"length": 4000, "heap": 200},
        {"name": layout.NAME_INLINE | 4097},
        {"name": 0xFFFFFFFF},
    ],
)
def test_wrong_heap_range_costs_the_event_only(values: dict[str, int]) -> None:
    segment = hostile(edit_event(**values))
    assert numbers(segment) == [(1, 0), (1, 2)]
    assert arguments(segment) == [b"[0]", b"[2]"]
    assert reasons(segment) == ["1 events with a wrong heap range"]


def test_heap_that_is_claimed_again_and_again() -> None:
    """A small file must not turn into a large answer."""
    writer = SegmentWriter(chunk_bytes=65536)
    thread = writer.thread()
    thread.event("open", ["x" * 8000])
    for _ in range(1000):
        thread.event("open")
    chunk = chunk_of(writer, layout.CHUNK_EVENTS)
    for index in range(2, len(chunk.entries)):
        change(chunk, layout.EVENT, index, heap=64, length=8004)
    segment = parse_segment(writer.build())
    assert sum(map(len, arguments(segment))) <= chunk.size
    assert reasons(segment) == [f"{1001 - 65536 // 8004} events with a wrong heap range"]


def test_unknown_ids_are_absent() -> None:
    segment = hostile(edit_event(name=12345, stack=0x7FFFFFFF))
    assert numbers(segment) == [(1, 0), (1, 1), (1, 2)]
    assert segment.events.name.tolist()[1] == segment.events.stack.tolist()[1] == 0
    assert segment.text(0) == ""
    assert segment.stack(0) == []


@pytest.mark.parametrize("parent", [1, 2, 3, 4, 99, 0xFFFFFFFF])
def test_stack_with_a_cycle_ends(parent: int) -> None:
    segment = hostile(lambda chunk: change(chunk, layout.NODE, 0, parent=parent), layout.CHUNK_NODES)
    stacks = [segment.stack(node) for node in segment.events.stack.tolist()]
    assert stacks == [[("a.py", n + 1, "f"), ("a.py", 9, "g")] for n in range(3)]


def test_stack_without_end_is_cut() -> None:
    writer = SegmentWriter(chunk_bytes=65536)
    writer.thread().event("open", stack=[("a.py", n, "f") for n in range(1000)])
    segment = parse_segment(writer.build())
    assert len(segment.stack(int(segment.events.stack[0]))) == layout.STACK_MAX_NODES


def test_unknown_code_and_file_are_absent() -> None:
    segment = hostile(lambda chunk: change(chunk, layout.NODE, 1, code=77), layout.CHUNK_NODES)
    assert segment.stack(int(segment.events.stack[0]))[0] == ("", 1, "")
    segment = hostile(lambda chunk: change(chunk, layout.CODE, 0, file=1 << 30), layout.CHUNK_CODES)
    assert segment.stack(int(segment.events.stack[0]))[1] == ("", 9, "g")


@pytest.mark.parametrize("first_id", [0, 1 << 20, 0xFFFFFFFF])
@pytest.mark.parametrize("kind", [layout.CHUNK_STRINGS, layout.CHUNK_CODES, layout.CHUNK_NODES])
def test_impossible_ids_define_nothing(kind: int, first_id: int) -> None:
    def edit(chunk: Chunk) -> None:
        chunk.first_id = first_id

    segment = hostile(edit, kind)
    assert numbers(segment) == [(1, 0), (1, 1), (1, 2)]
    assert f"first id {first_id} makes no sense" in reasons(segment)
    assert all(len(table) < 1000 for table in (segment.string_start, segment.code_file, segment.node_code))


@pytest.mark.parametrize("values", [{"heap": 1}, {"heap": 4090}, {"length": 1 << 31}, {"length": 65537}])
def test_string_outside_of_the_heap_is_empty(values: dict[str, int]) -> None:
    segment = hostile(lambda chunk: change(chunk, layout.STRING, 0, **values), layout.CHUNK_STRINGS)
    assert reasons(segment) == ["1 strings outside of the heap"]
    assert segment.text(1) == ""
    assert segment.text(2) == "g"


def test_event_of_no_thread_is_dropped() -> None:
    segment = hostile(lambda chunk: change(chunk, layout.OWNER, 0, kind=99))
    assert numbers(segment) == []
    assert reasons(segment) == ["3 events of no known thread"]


def test_events_without_anchor_are_timed_from_the_begin() -> None:
    segment = hostile(lambda chunk: change(chunk, layout.ANCHOR, 1, kind=99))
    assert segment.events.time.tolist() == [BEGIN_NS] * 3


@pytest.mark.parametrize("ticks", [0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("realtime", [0, BEGIN_NS, (1 << 63) - 1, (1 << 64) - 1])
def test_forged_clocks(ticks: int, realtime: int) -> None:
    def edit(chunk: Chunk) -> None:
        change(chunk, layout.EVENT, 3, ticks=ticks)
        change(chunk, layout.ANCHOR, 1, realtime=realtime)

    times = hostile(edit).events.time.tolist()
    assert all(0 <= time < 1 << 63 for time in times)


@pytest.mark.parametrize("values", [{"heap": 0}, {"heap": 4096}, {"length": 65537}, {"length": 5000}])
def test_attributes_outside_of_the_heap(values: dict[str, int]) -> None:
    writer = SegmentWriter()
    change(writer.chunks[0], layout.META, 0, **values)
    segment = parse_segment(writer.build())
    assert segment.attributes == []
    assert reasons(segment) == ["attributes outside of the heap"]


def test_number_at_its_limit_wraps() -> None:
    writer = SegmentWriter()
    thread = writer.thread(number=(1 << 64) - 1)
    thread.event("open")
    thread.event("open")
    assert parse_segment(writer.build()).events.number.tolist() == [(1 << 64) - 1, 0]


def test_a_segment_full_of_the_same_byte() -> None:
    for byte in range(256):
        body = bytes([byte]) * (layout.SEGMENT_MAX // 16)
        header = SegmentWriter().build()[:4096]
        poked = bytearray(header + body)
        struct.pack_into("<I", poked, 176, len(poked))
        assert len(parse_segment(poked).events) == 0


@pytest.mark.parametrize("name", ["contexts", "named"])
def test_what_came_before_holds_for_news(name: str) -> None:
    """Contexts and names of threads that were said in what has been seen."""
    data = SAMPLES[name]()
    everything = said(parse_segment(data))
    chunks = parse_segment(data).positions
    for chunk, entries in chunks.items():
        for cut in range(entries + 1):
            limits = chunks | {chunk: cut}
            earlier = parse_segment(data, limits=limits)
            later = parse_segment(data, seen=earlier.positions)
            assert said(earlier) | said(later) == everything


def said(segment: Segment) -> dict[tuple[int, int], tuple[str, object]]:
    events = SegmentDecoder(segment, 0).events(np.arange(len(segment.events)))
    return {(e.thread.slot, e.number): (e.thread.name or "", e.context) for e in events}
