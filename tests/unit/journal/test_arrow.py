"""Arrow tables say what events say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from pythonaudit.journal.arrow import DESCRIBED_SCHEMA, SCHEMA, to_arrow
from pythonaudit.journal.decode import Event
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal
from tests.journal_writer import SegmentWriter


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    for process in (1, 2):
        writer = SegmentWriter(process=bytes([process]) * 16, attributes={"run": "r", "argv": ["a", "ü"]})
        threads = [writer.thread(slot, tid=slot * 10, interpreter=slot) for slot in (1, 2)]
        for number in range(100):
            writer.ticks += 1000
            thread = threads[number % 2]
            thread.event("open", [f"/tmp/{'ü' * number}", None, number], stack=[("a.py", number % 5, "f")])
            thread.event(f"login: user={number % 7}", inline=True, source=3, notes=number % 16)
            thread.event(["sys.exit", "builtins.id"][number % 2], inline=True)  # of the catalog, and not interned
            thread.event("short", b"[%d]" % number)
            thread.event("os.listdir")
            thread.event("twelve bytes", b'["%08d"]' % number)
            thread.event("thirteen bytes", b'["%09d"]' % number)
        writer.save(tmp_path)
    return Journal(tmp_path)


def row_of(event: Event, describe: bool) -> dict[str, Any]:
    said = orjson.loads(event.to_json())
    row: dict[str, Any] = dict.fromkeys((DESCRIBED_SCHEMA if describe else SCHEMA).names)
    row |= {name: value for name, value in said.items() if name in row}
    row |= {"time": event.time_ns, "slot": event.thread.slot, "number": event.number}
    for name in ("argv", "stack", "args", "fields"):
        if row.get(name) is not None:
            row[name] = orjson.dumps(row[name]).decode()
    return row


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    at = table.schema.get_field_index("time")
    return table.set_column(at, "time", table["time"].cast(pa.int64())).to_pylist()


def test_every_event_is_a_row(journal: Journal) -> None:
    table = journal.to_arrow()
    table.validate(full=True)
    assert table.schema == DESCRIBED_SCHEMA
    found = {row["id"]: row for row in rows_of(table)}
    assert found == {event.id: row_of(event, describe=True) for event in journal.events()}
    assert len(found) == 1400


def test_without_description(journal: Journal) -> None:
    decoders = [journal.load(head) for head in journal.heads()]
    table = to_arrow(((decoder, None) for decoder in decoders if decoder), describe=False)
    table.validate(full=True)
    assert table.schema == SCHEMA
    key = ("process", "slot", "number")
    found = {tuple(row[name] for name in key): row for row in rows_of(table)}
    events = {(e.process.id, e.thread.slot, e.number): row_of(e, describe=False) for e in journal.events()}
    assert found == events


def test_filter(journal: Journal) -> None:
    table = journal.to_arrow(EventFilter(names=("open",), processes=("01",)))
    assert table.num_rows == 100
    assert set(table["event"].to_pylist()) == {"open"}


def test_nothing(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    table = Journal(tmp_path).to_arrow()
    assert (table.num_rows, table.schema) == (0, DESCRIBED_SCHEMA)


@pytest.mark.parametrize("describe", [True, False])
def test_text_that_is_not_utf8(tmp_path: Path, describe: bool) -> None:
    writer = SegmentWriter()
    thread = writer.thread()
    thread.event("open", b'["\xff\xfe and more than twelve bytes"]')
    thread.event("open", ["/good"])
    thread.event("n\u00e4me", inline=True)
    path = writer.save(tmp_path)
    data = path.read_bytes().replace("n\u00e4me".encode(), b"n\xff\xffme")
    path.write_bytes(data)
    journal = Journal(tmp_path)
    (head,) = journal.heads()
    decoder = journal.load(head)
    assert decoder is not None
    table = to_arrow([(decoder, None)], describe=describe)
    table.validate(full=True)
    assert table["args"].to_pylist()[1:] == ['["/good"]', None]
    assert table["event"].to_pylist()[2] == "n\ufffd\ufffdme"
