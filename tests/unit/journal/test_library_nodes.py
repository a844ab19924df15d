"""Who logged something stands for its event: not our handler, not logging, not a library between the two."""

from __future__ import annotations

from pathlib import Path

import pytest

from pythonaudit.journal.stacks import code_nodes
from tests.archives import archived_journal, move
from tests.exported import decoded
from tests.journal_writer import Frame, SegmentWriter

HANDLER: Frame = ("/venv/site-packages/pythonaudit/recorder/logs.py", 50, "emit")
LOGGING: Frame = ("/usr/lib/python3.11/logging/__init__.py", 1700, "callHandlers")
LOGURU: Frame = ("/venv/site-packages/loguru/_logger.py", 2078, "_log")
OPENING: Frame = ("/venv/site-packages/loguru/_file_sink.py", 240, "_create_file")
STRUCTLOG: Frame = ("/venv/site-packages/structlog/stdlib.py", 209, "info")
APP: Frame = ("/srv/app.py", 12, "login")
OTHER: Frame = ("/srv/log/loguru.py", 3, "wrap")

STACKS: list[tuple[list[Frame], Frame]] = [
    ([HANDLER, LOGGING, APP], APP),
    ([HANDLER, HANDLER, LOGGING, LOGGING, APP, LOGGING], APP),
    ([HANDLER, LOGURU, LOGURU, APP], APP),
    ([HANDLER, LOGGING, STRUCTLOG, LOGGING, STRUCTLOG, APP], APP),
    ([HANDLER, LOGGING, OTHER, STRUCTLOG, APP], OTHER),
    ([OPENING, APP], OPENING),  # what it does besides is its own
    ([LOGGING, OTHER, APP], OTHER),
    ([HANDLER, LOGGING], HANDLER),  # all is library: the innermost in a file
    ([APP, HANDLER], APP),
]


def writer() -> SegmentWriter:
    made = SegmentWriter(chunk_bytes=1 << 16)
    thread = made.thread()
    for stack, _ in STACKS:
        thread.event("log: text", stack=stack)
    return made


def test_the_line_of_code_is_that_of_who_logged() -> None:
    events = decoded(writer().build())
    assert [event.code_frame for event in events] == [frame for _, frame in STACKS]
    segment = events[0].decoder.segment
    nodes = code_nodes(segment, segment.events.stack)
    files = [segment.text(int(segment.code_file[segment.node_code[node]])) for node in nodes]
    assert files == [frame[0] for _, frame in STACKS]


@pytest.mark.parametrize("stack", [[HANDLER, LOGGING, APP]])
def test_a_stack_keeps_all_its_frames(stack: list[Frame]) -> None:
    assert decoded(writer().build())[0].stack == stack


def test_the_archive_says_the_same(tmp_path: Path) -> None:
    writer().save(tmp_path)
    before = [(event.code_frame, event.to_json()) for event in archived_journal(tmp_path).events()]
    move(tmp_path)
    assert [(event.code_frame, event.to_json()) for event in archived_journal(tmp_path).events()] == before
    assert [frame for frame, _ in before] == [frame for _, frame in STACKS]
