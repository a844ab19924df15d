"""Events and their JSON: the public contract, field for field."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pythonaudit.journal import decode, layout, stacks
from pythonaudit.journal.chunks import Damage
from pythonaudit.journal.decode import Event, SegmentDecoder
from pythonaudit.journal.segment import parse_segment
from tests.journal_writer import SegmentWriter

PROCESS = "101112131415161718191a1b1c1d1e1f"


def decoded(writer: SegmentWriter, damage: list[Damage] | None = None) -> list[Event]:
    segment = parse_segment(writer.build())
    decoder = SegmentDecoder(segment, 0, damage.append if damage is not None else None)
    return list(decoder.events(np.arange(len(segment.events))))


def one(name: str, args: Any = (), **options: Any) -> Event:
    writer = SegmentWriter()
    writer.thread().event(name, args, **options)
    (event,) = decoded(writer)
    return event


def said(event: Event) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event.to_json())
    return found


def test_json_of_an_event() -> None:
    attributes = {
        "python": "3.11.7",
        "exe": "/usr/bin/python3",
        "argv": ["app.py", "-v"],
        "cwd": "/srv",
        "host": "web-1",
        "run": "01J",
    }
    writer = SegmentWriter(attributes=attributes)
    thread = writer.thread(slot=3, tid=124, interpreter=2, number=42)
    thread.event(
        "open",
        ["/etc/passwd", "r", 524288],
        stack=[("/srv/app.py", 12, "load"), ("/srv/app.py", 0, "<module>")],
        notes=0b11,
    )
    (event,) = decoded(writer)
    text = event.to_json()
    assert b"\n" not in text
    assert list(json.loads(text).items()) == [
        ("time", "2026-11-22T14:30:33.123456789Z"),
        ("event", "open"),
        ("category", "file"),
        ("source", "interpreter"),
        ("args", ["/etc/passwd", "r", 524288]),
        ("fields", {"path": "/etc/passwd", "mode": "r", "flags": 524288}),
        ("id", f"{PROCESS}/3/42"),
        ("host", "web-1"),
        ("boot", "404142434445464748494a4b4c4d4e4f"),
        ("process", PROCESS),
        ("pid", 123),
        ("ppid", 1),
        ("tid", 124),
        ("interpreter", 2),
        ("run", "01J"),
        ("python", "3.11.7"),
        ("exe", "/usr/bin/python3"),
        ("argv", ["app.py", "-v"]),
        ("cwd", "/srv"),
        ("uid", 0),
        ("user", "root"),
        (
            "stack",
            [
                {"file": "/srv/app.py", "line": 12, "function": "load"},
                {"file": "/srv/app.py", "function": "<module>"},
            ],
        ),
        ("notes", ["truncated", "masked"]),
    ]


def test_event_says_the_same_as_its_json() -> None:
    event = one("open", ["/x", "r", 0], stack=[("a.py", 1, "f")], notes=1, source=layout.SOURCE_STDLIB)
    found = said(event)
    assert event.event == found["event"]
    assert event.category == found["category"]
    assert event.source == found["source"] == "stdlib"
    assert event.values == found["args"]
    assert event.arg_names == tuple(found["fields"])
    assert event.fields == found["fields"]
    assert event.id == found["id"]
    assert event.tid == found["tid"]
    assert event.interpreter == found["interpreter"]
    assert event.process.id == found["process"]
    assert event.stack == [("a.py", 1, "f")]
    assert list(event.notes) == found["notes"]


def test_what_has_nothing_to_say_is_left_out() -> None:
    writer = SegmentWriter(attributes={}, boot=bytes(16))
    writer.thread().event("cpython._PySys_ClearAuditHooks")
    (event,) = decoded(writer)
    assert set(said(event)) == {
        "time", "event", "category", "source", "id", "process", "pid", "ppid", "tid", "interpreter", "uid", "user",
    }  # fmt: skip


def test_free_form_event() -> None:
    name = "User logged in: username=johndoe, ip=192.168.0.1"
    for inline in (False, True):
        found = said(one(name, source=layout.SOURCE_APPLICATION, inline=inline))
        assert found["event"] == name
        assert found["category"] == "application"
        assert found["source"] == "application"
        assert found["fields"] == {"username": "johndoe", "ip": "192.168.0.1"}
        assert found["template"] == "User logged in: username=*, ip=*"
        assert list(found)[4:6] == ["fields", "template"]


@pytest.mark.parametrize(
    ("args", "fields"),
    [
        ([{"order": 7, "amount": 12.5}], {"order": 7, "amount": 12.5}),
        ([{"order": {"$bytes": "x"}}], {"order": "x"}),
        ([{"$$x": 1}], {"$x": 1}),
        ([{"$bytes": "x"}], {"arg0": "x"}),
        ([1, "two"], {"arg0": 1, "arg1": "two"}),
        ([{}], None),
        ([None], None),
    ],
)
def test_application_event(args: list[Any], fields: dict[str, Any] | None) -> None:
    found = said(one("shop.order.paid", args))
    assert found["args"] == args
    assert found.get("fields") == fields
    assert "template" not in found


def test_argument_names_follow_the_python_version() -> None:
    for python, names in (("3.10.4", ["path"]), ("3.11.7", ["path", "dir_fd"])):
        writer = SegmentWriter(attributes={"python": python})
        writer.thread().event("shutil.rmtree", ["/tmp/x", 3][: len(names)])
        assert list(said(decoded(writer)[0])["fields"]) == names


def test_more_arguments_than_names() -> None:
    assert said(one("open", ["/x", None, 0, 9]))["fields"] == {"path": "/x", "flags": 0, "arg3": 9}


def test_revealed_text_takes_the_place_of_its_id() -> None:
    writer = SegmentWriter()
    number = writer.string("print('hello')")
    writer.thread().event("compile", [{"$length": 14, "$hash": "00", "$text": number}, "<string>"])
    writer.thread(2).event("compile", [{"$length": 14, "$hash": "00", "$text": 10**9}, "<string>"])
    first, second = (said(event) for event in decoded(writer))
    assert first["args"][0] == {"$length": 14, "$hash": "00", "$text": "print('hello')"}
    assert first["fields"]["source"] == "print('hello')"
    assert second["args"][0]["$text"] == ""


@pytest.mark.parametrize(
    "text",
    [
        b"[1,",
        b'{"a":1}',
        b"[1]]",
        b'["\xff"]',
        b"[NaN]",
        b"[" * 9000,
        b"nonsense",
        b"[" * 33 + b"]" * 33,
        b"[" * 900 + b"1" + b"]" * 900,
    ],
)
def test_unsound_arguments_cost_the_arguments_only(text: bytes) -> None:
    writer = SegmentWriter(chunk_bytes=16384)
    thread = writer.thread()
    thread.event("open", ["/before"])
    thread.event("open", text)
    thread.event("login: user=a", text)
    thread.event("open", ["/after"])
    damage: list[Damage] = []
    found = [said(event) for event in decoded(writer, damage)]
    assert [f.get("args") for f in found] == [["/before"], None, None, ["/after"]]
    assert found[2]["fields"] == {"user": "a"}
    assert [(one.length, one.reason) for one in damage] == [(len(text), "arguments that are not a JSON array")] * 2
    assert writer.build()[damage[0].offset :].startswith(text)


@pytest.mark.parametrize(
    "attributes", [b"", b"[]", b'{"host":', b'{"host":1,"argv":"x","python":"abc","cwd":null}']
)
def test_unsound_attributes_cost_themselves_only(attributes: bytes) -> None:
    writer = SegmentWriter(attributes={})
    writer.meta(attributes)
    writer.thread().event("open", ["/x"])
    (event,) = decoded(writer)
    found = said(event)
    assert found["args"] == ["/x"]
    assert not {"host", "argv", "cwd"} & set(found)
    assert event.process.python_version is None


def test_wide_arguments_are_not_deep() -> None:
    args = [[[n] for n in range(100)], {"a": {"b": {"c": [{"d": [1]}]}}}]
    assert said(one("open", args))["args"] == args


@pytest.mark.parametrize("name", ["open", "shop.order.paid"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_in_forged_arguments_are_none_in_json(name: str, end: bytes) -> None:
    event = one(name, end.join((b"[", b'{"event":"forged"}', b"]")))
    assert len(event.to_json().splitlines()) == 1
    assert said(event)["args"] == [{"event": "forged"}]


def test_unknown_source_and_later_notes() -> None:
    event = one("open", source=9, notes=1 << 15)
    assert event.source == "unknown"
    assert not {"source", "notes"} & set(said(event))


@pytest.mark.parametrize("limit", [1, 3])
def test_full_caches_change_nothing(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SegmentWriter(chunk_bytes=16384)
    for slot in range(5):
        thread = writer.thread(slot)
        for number in range(7):
            thread.event(f"e{number}", [number, slot], stack=[("a.py", number, "f")])
    expected = [event.to_json() for event in decoded(writer)]
    monkeypatch.setattr(decode, "_CACHE_ENTRIES", limit)
    monkeypatch.setattr(decode, "_CACHE_BYTES", limit)
    monkeypatch.setattr(stacks, "_CACHE_BYTES", limit)
    monkeypatch.setattr(decode, "_ROWS", limit)
    assert [event.to_json() for event in decoded(writer)] == expected


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
        ((1 << 63) - 1, "2262-04-11T23:47:16.854775807Z"),
    ],
)
def test_format_time(time_ns: int, text: str) -> None:
    assert decode.format_time(time_ns).decode() == text


def test_numbers_of_a_context_are_written_one_way() -> None:
    """docs/format/checkpoint.md, section 3: contexts are sealed as text, which no library may write otherwise."""
    writer = SegmentWriter()
    thread = writer.thread()
    thread.context('{"a" : 1e16,"b":1e-5 , "c":1.50,"d":-0.0,"e":1E2,"f":"\\u00e9\\u0001\\u2028/","a":1e22}')
    thread.event("open")
    (event,) = decoded(writer)
    text = '"context":{"a":1e+22,"b":1e-05,"c":1.5,"d":-0.0,"e":100.0,"f":"é\\u0001\u2028/"}'
    assert text.encode() in event.to_json()
