"""What encoders of events keep: as long as the segment, and no more than so much."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import pytest

from pythonaudit.export.kept import Kept
from pythonaudit.export.otlp import wire
from pythonaudit.export.otlp.records import REQUEST_BYTES
from pythonaudit.export.otlp.records import Encoder as OtlpEncoder
from pythonaudit.export.syslog.message import Encoder as SyslogEncoder
from tests import otlp
from tests.journal_writer import SegmentWriter
from tests.written import events_of, some_events

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event


@pytest.mark.parametrize(
    "encode", [OtlpEncoder().requests, SyslogEncoder(13, 8192).messages], ids=["OTLP", "syslog"]
)
def test_segments_go_when_nobody_has_them(encode: Callable[[Sequence[Event]], Iterator[object]]) -> None:
    events = some_events(3)
    assert list(encode(events)) and list(encode(events))
    segment = weakref.ref(events[0].decoder)
    del events
    gc.collect()
    assert segment() is None


def test_what_is_kept_is_bounded() -> None:
    kept: Kept[bytes] = Kept()
    for number in range(100_000):
        kept.keep(number, b"", 0)
        assert len(kept) <= 16384
    heavy: Kept[bytes] = Kept()
    for number in range(100):
        assert heavy.keep(number, b"x", 1 << 20) == b"x"
        assert number in heavy and len(heavy) <= 16


def test_requests_end_at_their_limit_and_hold_all() -> None:
    events = some_events(5000)
    requests = list(OtlpEncoder().requests(events))
    assert len(requests) > 1
    assert all(len(body) < REQUEST_BYTES * 1.2 for body, _ in requests)
    assert [id_ for body, _ in requests for id_ in otlp.ids_of(body)] == [event.id for event in events]
    assert [count for _, count in requests] == [len(otlp.ids_of(body)) for body, _ in requests]
    assert list(OtlpEncoder().requests([])) == []


def test_processes_are_apart_and_each_in_order() -> None:
    events = []
    for process in (bytes(16), bytes(range(16))):
        writer = SegmentWriter(process=process)
        thread = writer.thread()
        for number in range(3):
            thread.event("open", [f"/{number}", "r", 0])
        events.append(events_of(writer))
    mixed = [event for pair in zip(*events) for event in pair]
    ((body, count),) = OtlpEncoder("shop").requests(mixed)
    assert count == 6
    assert otlp.ids_of(body) == [event.id for of_process in events for event in of_process]
    resources = [resource for resource, _ in otlp.records_of(body)]
    assert {resource["service.name"] for resource in resources} == {"shop"}
    assert len({resource["service.instance.id"] for resource in resources}) == 2


def test_numbers_of_protobuf() -> None:
    for number in (0, 1, 127, 128, 16383, 16384, 1 << 32, (1 << 64) - 1):
        found, shift = 0, 0
        for byte in wire.varint[number]:
            found |= (byte & 127) << shift
            shift += 7
        assert found == number
        assert wire.varint[number][-1] < 128
