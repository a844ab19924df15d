"""Whatever an event says, each format of lines gives one line for it, which parses, and has its id."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pythonaudit.export.formats import LINES, find_format
from pythonaudit.export.formats.parquet import build_file
from pythonaudit.export.formats.safe import neutralise
from pythonaudit.journal import layout
from pythonaudit.journal.decode import Event
from tests.exported import decoded, recorded, samples
from tests.journal_writer import SegmentWriter
from tests.recorded import SOAK

csv.field_size_limit(1 << 24)
HOSTILE = (
    "=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(A1)", "\t=1", "a\r\nCEF:0|forged|x|1|1|x|9|", "x=1|y\\|z\\=", "\x1b[2J\x9b31m",
    "\u202eexe.txt", "nul \x00 end", 'quote " , quote', "\u2028\u2029\x85\x0b\x0c\x1c", "a=b=c", "\\", "\\n", "|", "=", "",
    "\ud7ff\ue000\U0010ffff", "}\n{\"time\":\"x\"}", "x" * 4000, "'; DROP TABLE events; --", "http://[", "ä" * 99,
)  # fmt: skip
texts = st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
scalars = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False) | texts
tagged = st.sampled_from(
    [{"$wtf8": "YWLtsoA="}, {"$base64": "L3RtcC//"}, {"$bytes": "\n"}, {"$length": 9}, {"$code": {"file": "\n"}}]
)
values = st.recursive(
    scalars | tagged,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=9,
)
NAMES = ("open", "socket.connect", "subprocess.Popen", "socket.getaddrinfo", "urllib.Request", "import", "compile",
         "os.rename", "ctypes.dlsym", "cpython.run_command", "sqlite3.connect", "os.kill")  # fmt: skip


def unescaped(text: str) -> str:
    """A value of CEF as it was."""
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), text)


def parse_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """As a receiver reads it: the header to the seventh bare pipe, then keys before bare equals signs."""
    header, at = [], 0
    for part in re.finditer(r"((?:[^|\\]|\\.)*)\|", line):
        header.append(re.sub(r"\\(.)", r"\1", part[1]))
        at = part.end()
        if len(header) == 7:
            break
    keys = list(re.finditer(r"(?:^| )(\w+)=", re.sub(r"\\.", "..", line[at:])))
    ends = [key.start() for key in keys[1:]] + [len(line) - at]
    return header, {key[1]: unescaped(line[at:][key.end() : end]) for key, end in zip(keys, ends, strict=True)}


def check(event: Event) -> None:
    for name in LINES:
        form = find_format(name)
        data = form.line(event)
        assert data.endswith(b"\n") and data.count(b"\n") == 1 and b"\r" not in data, name
        text = data.decode("utf-8")[:-1]
        assert (form.header + data).startswith(form.start)
        if form.is_json:
            document = json.loads(text)
            found = {"jsonl": ["id"], "ecs": ["event", "id"], "ocsf": ["metadata", "uid"]}[name]
            for key in found:
                document = document[key]
            assert document == event.id
            continue
        assert text.isprintable(), name
        if name == "csv":
            (cells,) = csv.reader(io.StringIO(text, newline=""))
            (header,) = csv.reader(io.StringIO(form.header.decode()))
            row = dict(zip(header, cells, strict=True))
            assert row["id"] == event.id
            assert row["event"].removeprefix("'") == neutralise(event.event)
            assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t"))]
            for key in ("args", "fields", "stack", "context"):
                assert not row[key] or json.loads(row[key]) is not None
        else:
            head, values_ = parse_cef(text)
            assert head[0] == "CEF:0" and head[1:3] == ["pythonaudit", "pythonaudit"] and len(head) == 7
            assert head[5] == neutralise(event.event)
            assert values_["cs1"] == event.id and values_["cs1Label"] == "id"


@given(
    name=st.sampled_from(NAMES) | texts,
    args=st.lists(values, max_size=5),
    host=texts,
    words=st.lists(texts, max_size=3),
    cwd=texts,
    fields=st.dictionaries(texts, scalars, max_size=3),
    stack=st.lists(st.tuples(texts, st.integers(0, 9), texts), max_size=3),
)
@settings(max_examples=40 * SOAK, deadline=None)
def test_any_event_is_one_line_that_parses(
    name: str, args: list[Any], host: str, words: list[str], cwd: str, fields: dict[str, Any], stack: list[Any]
) -> None:
    writer = SegmentWriter(attributes={"host": host, "argv": words, "exe": host, "cwd": cwd, "run": host})
    thread = writer.thread()
    thread.context(fields)
    thread.named(host)
    thread.event(name, args, stack=stack, source=layout.SOURCE_APPLICATION, inline=len(name.encode()) <= 4000)
    (event,) = decoded(writer.build())
    check(event)
    table = pq.read_table(io.BytesIO(build_file([event])))
    assert table["id"].to_pylist() == [event.id]
    assert table["event"].to_pylist() == [event.event]


@pytest.mark.parametrize("events", [recorded, samples], ids=lambda events: events.__name__)
def test_events_of_all_kinds(events: Any) -> None:
    found = events()
    for event in found:
        check(event)
    table = pq.read_table(io.BytesIO(build_file(found)))
    assert table["id"].to_pylist() == [event.id for event in found]
    assert table["time_ns"].to_pylist() == [event.time_ns for event in found]


def test_bytes_that_are_no_text() -> None:
    """Invalid UTF-8 in a name, an argument, an attribute and a frame."""
    mark, wrong = b"@@@@@@", b"\xff\xc0\xaf\xed\xb2\x80"
    writer = SegmentWriter(attributes={"host": "@@@@@@", "argv": ["@@@@@@"]})
    writer.thread().event("name @@@@@@", ["@@@@@@"], stack=[("/@@@@@@.py", 1, "@@@@@@")], inline=True)
    data = writer.build()
    assert data.count(mark) >= 5
    (event,) = decoded(data.replace(mark, wrong))
    check(event)


def test_texts_of_a_mebibyte() -> None:
    """As large as an event can be: texts that were asked for with PYTHONAUDIT_REVEAL."""
    writer = SegmentWriter(chunk_bytes=1 << 17)
    ids = [writer.string(f"{number}\n=|" + '"\n=|' * 15000 + "end") for number in range(17)]
    args = [{"$length": 1 << 16, "$text": text_id} for text_id in ids]
    writer.thread().event("app.texts", args, source=layout.SOURCE_APPLICATION)
    (event,) = decoded(writer.build())
    assert len(event.to_json()) > 1 << 20
    check(event)
    for name in LINES:
        assert find_format(name).line(event).decode().count("end") >= 17, name


def test_what_is_masked_stays_masked() -> None:
    """Recorded by a real interpreter, which was given a secret."""
    masked = [event for event in recorded() if "masked" in event.notes]
    assert masked
    for event in masked:
        for name in LINES:
            line = find_format(name).line(event)
            assert b"***" in line, name
            assert b"hunter2" not in line and b"token=abc" not in line
