"""Events of a segment as a table, where a small file says a lot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pythonaudit.archive import described
from pythonaudit.journal import layout
from pythonaudit.journal.reader import Journal
from tests.archives import archived_journal, lines, move, table
from tests.journal_writer import SegmentWriter


@pytest.mark.parametrize("source", [layout.SOURCE_INTERPRETER, layout.SOURCE_APPLICATION])
def test_a_text_that_many_events_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: int) -> None:
    """It is in each of them, as far as there is room; and then its length and hash."""
    monkeypatch.setattr(described, "TEXT_MAX_BYTES", 10_000)
    writer = SegmentWriter()
    text = writer.string("x" * 1000)
    thread = writer.thread()
    for number in range(50):
        revealed = {"$length": 1000, "$hash": "a1b2c3d4e5f60718", "$text": text}
        name = "compile" if source == layout.SOURCE_INTERPRETER else "app.code"
        thread.event(name, [revealed, f"<{number}>"], source=source)
    writer.save(tmp_path)
    before = lines(Journal(tmp_path))
    move(tmp_path)
    said = [json.loads(args)[0] for args in table(tmp_path)["args"].to_pylist()]
    whole = [value for value in said if "$text" in value]
    assert 1 < len(whole) < 15
    assert all(value["$text"] == "x" * 1000 for value in whole)
    assert all(value["$length"] == 1000 and value["$hash"] == "a1b2c3d4e5f60718" for value in said)
    found = lines(archived_journal(tmp_path))
    assert len(found) == len(before) == 50
    assert found[0] == before[0]


def test_hostile_arguments_with_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(described, "TEXT_MAX_BYTES", 0)
    writer = SegmentWriter()
    thread = writer.thread()
    for args in (b'["$text":', b'[{"$length":1,"$text":' + b"[" * 5000, b'{"$text":1}', b'[{"$text":1}]'):
        thread.event("compile", args)
    writer.save(tmp_path)
    move(tmp_path)
    assert len(lines(archived_journal(tmp_path))) == 4


def test_fields_of_a_long_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name stands once in the segment, and its pairs in the fields of each event."""
    monkeypatch.setattr(described, "FIELDS_MAX_BYTES", 10_000)
    writer = SegmentWriter()
    thread = writer.thread()
    for number in range(50):
        thread.event("login: user=" + "x" * 1000, [number], source=layout.SOURCE_APPLICATION)
    writer.save(tmp_path)
    before = lines(Journal(tmp_path))
    move(tmp_path)
    fields = [text for text in table(tmp_path)["fields"].to_pylist() if text]
    assert len(fields) == 9
    assert lines(archived_journal(tmp_path)) == before
