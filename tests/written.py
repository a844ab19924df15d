"""Events of a segment that a test has written, without a directory in between."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.segment import parse_segment
from tests.journal_writer import SegmentWriter

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event


def events_of(writer: SegmentWriter) -> list[Event]:
    """All events, in the order in which they lie there."""
    segment = parse_segment(bytearray(writer.build()))
    return list(SegmentDecoder(segment, os.geteuid()).events(np.arange(len(segment.events))))


def some_events(count: int, begin: int = 0) -> list[Event]:
    """Events of one thread, each with another argument."""
    writer = SegmentWriter(chunk_bytes=65536)
    thread = writer.thread(number=begin)
    for number in range(begin, begin + count):
        writer.ticks += 1_000
        thread.event("open", [f"/srv/data/{number}", "r", 524288], stack=[("/srv/app.py", 12, "load")])
    return events_of(writer)
