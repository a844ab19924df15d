"""Any event at all: one message of syslog, one record of OTLP, and both read back the same."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pythonaudit.export.otlp.records import Encoder as OtlpEncoder
from pythonaudit.export.syslog.message import LIMIT_MAX, LIMIT_MIN, SD_ID
from pythonaudit.export.syslog.message import Encoder as SyslogEncoder
from pythonaudit.journal.decode import Event
from tests import journals, otlp, rfc5424
from tests.journal_writer import SegmentWriter
from tests.written import events_of

#: All of Unicode, and often what ends lines, quotes, escapes and closes.
TEXT = st.text(
    st.characters(blacklist_categories=("Cs",)) | st.sampled_from('\n\r\x00\x1b\x7f\x85\u2028"\\][=> \ufeff'),
    max_size=30,
)
SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
NAME = TEXT | st.sampled_from(
    ["open", "socket.connect", "import", "sys.excepthook", 'User logged in: user="a b", ip=::1']
)
FRAME = st.tuples(TEXT.filter(bool), st.integers(0, 2**31 - 1), TEXT.filter(bool))
ANY = st.fixed_dictionaries(
    {
        "name": NAME,
        "args": st.lists(VALUE, max_size=4),
        "stack": st.lists(FRAME, max_size=4),
        "notes": st.integers(0, 255),
        "context": st.none()
        | st.dictionaries(TEXT.filter(lambda key: not key.startswith("$")), SCALAR, max_size=3),
        "thread": TEXT,
        "host": TEXT,
        "argv": st.lists(TEXT, max_size=3),
    }
)
SETTINGS = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
NO_PRINT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def event_of(said: dict[str, Any]) -> Event:
    attributes = {"host": said["host"], "argv": said["argv"], "exe": "/usr/bin/python3", "python": "3.11.7"}
    writer = SegmentWriter(attributes=attributes)
    thread = writer.thread()
    if said["thread"]:
        thread.named(said["thread"])
    thread.context(said["context"])
    thread.event(said["name"], said["args"], stack=said["stack"], notes=said["notes"], inline=bool(said["name"]))
    (event,) = events_of(writer)
    return event


def contract(event: Event) -> dict[str, Any]:
    """The event as `--format jsonl` has it, with what OTLP's decoder of the tests has in other forms."""
    said: dict[str, Any] = orjson.loads(event.to_json())
    said["time_ns"] = event.time_ns
    del said["time"]
    if "stack" in said:
        said["stack"] = [f"{frame['file']}:{frame.get('line', 0)} {frame['function']}" for frame in said["stack"]]
    return said


def check_otlp(events: list[Event]) -> None:
    records = [record for body, _ in OtlpEncoder().requests(events) for record in otlp.records_of(body)]
    found = {one["id"]: one for one in (otlp.as_jsonl(*record) for record in records)}
    assert len(found) == len(records) == len(events)
    for event in events:
        assert found[event.id] == contract(event)


def check_syslog(event: Event, limit: int = LIMIT_MAX) -> rfc5424.Message:
    (written,) = SyslogEncoder(13, limit).messages([event])
    assert len(written) <= limit
    assert not NO_PRINT.search(written.decode())
    message = rfc5424.parse(written)
    assert (message.app, message.element) == ("pythonaudit", SD_ID)
    assert message.priority // 8 == 13
    assert message.of("id") == [event.id]
    return message


def check_whole(event: Event) -> None:
    message, said = check_syslog(event), contract(event)
    assert not message.of("cut") and not message.of("omitted")
    assert message.of("event") == [said["event"]]
    for name in (
        "category",
        "source",
        "template",
        "user",
        "cwd",
        "python",
        "exe",
        "run",
        "thread",
        "boot",
        "process",
    ):
        assert message.of(name) == ([said[name]] if name in said else []), name
    for name in ("pid", "tid", "ppid", "uid"):
        assert name == "pid" or message.of(name) == [str(said[name])]
    assert message.process == str(said["pid"])
    assert [json.loads(text) for text in message.of("argv")] == ([said["argv"]] if "argv" in said else [])
    assert [json.loads(text) for text in message.of("context")] == ([said["context"]] if "context" in said else [])
    assert message.of("frame") == said.get("stack", [])
    assert message.of("notes") == ([",".join(said["notes"])] if "notes" in said else [])
    name, text = message.params[1][1], message.text  # of the name, the form in which the text has it
    assert text.startswith(name)
    assert (json.loads(text[len(name) :]) if text != name else None) == said.get("args")


@given(ANY)
@SETTINGS
def test_any_event_is_one_message_of_syslog(said: dict[str, Any]) -> None:
    check_whole(event_of(said))


@given(ANY, st.integers(LIMIT_MIN, 2000))
@SETTINGS
def test_a_message_keeps_to_its_limit_and_says_what_is_missing(said: dict[str, Any], limit: int) -> None:
    event = event_of(said)
    whole, found = check_syslog(event), check_syslog(event, limit)
    (omitted,) = found.of("omitted") or ["0"]
    assert len(found.params) - len(found.of("omitted") + found.of("cut")) + int(omitted) == len(whole.params)
    (cut,) = found.of("cut") or ["0"]
    if cut == "0":
        assert found.text == whole.text
    else:
        kept = found.text.removesuffix("…")
        assert whole.text.startswith(kept)
        assert len(kept.encode()) + int(cut) == len(whole.text.encode())


@given(ANY)
@SETTINGS
def test_any_event_is_one_record_of_otlp(said: dict[str, Any]) -> None:
    check_otlp([event_of(said)])


@pytest.mark.parametrize("name", ["plain", "arguments", "messages", "threads", "named", "contexts"])
def test_every_form_of_the_journal(name: str) -> None:
    events = events_of(getattr(journals, name)())
    assert events
    check_otlp(events)
    for event in events:
        check_whole(event)
