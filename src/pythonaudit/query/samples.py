"""Events as JSON lines, as the view `events`: what `log --format jsonl` printed can be asked in SQL again.

    with open_samples(load_samples(data, "match.jsonl")) as connection:
        connection.execute("SELECT event, path FROM events")

The view is that of the archive, over a table that is made of the lines. Which line of code did it does not stand in
JSON; it is found again by where files of the standard library use to be.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

import pyarrow as pa

from pythonaudit.archive import schema
from pythonaudit.archive.typed import describe
from pythonaudit.errors import UsageError
from pythonaudit.journal.process import parse_version
from pythonaudit.query.connection import Connection, open_scratch

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")
_LIBRARY = re.compile(r"<frozen |.*/lib(?:64)?/python3[^/]*/(?!(?:site|dist)-packages/)")
_SECOND_NS = 1_000_000_000
_SAME = (
    *("event", "category", "source", "template", "process", "host", "boot", "run", "python", "exe", "cwd", "user"),
    *("pid", "ppid", "tid", "thread", "interpreter", "uid"),
)

Sample = Mapping[str, Any]


def load_samples(data: bytes, file: str) -> list[Sample]:
    """The events in JSON lines.

    Args:
        data: the lines.
        file: where they are from, for complaints.

    Raises:
        UsageError: a line is no event.
    """
    found: list[Sample] = []
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError as error:
            raise UsageError(
                f"{file}:{number}: no JSON: {error}", hint="'log --format jsonl' prints such lines"
            ) from None
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            raise UsageError(f"{file}:{number}: no event", hint="'log --format jsonl' prints such lines")
        found.append(event)
    return found


def open_samples(events: Sequence[Sample]) -> Connection:
    """A connection with these events as the view `events`, and no other view.

    Raises:
        UsageError: a value is not of the type that it has in an event.
    """
    stacks = [_json(event.get("stack")) for event in events]
    try:
        rows = [_row(event, place) for place, event in enumerate(events)]
        table = pa.Table.from_pylist(rows, schema.EVENTS)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"an event has a value of another type than events have: {error}") from None
    connection = open_scratch({"all_events": table}, lambda batch: _Stacks(stacks))
    connection.execute(resources.files(__package__).joinpath("views/events.sql").read_text("utf-8"))
    return connection


class _Stacks:
    """Stacks by the place of their event, from 1 on."""

    def __init__(self, stacks: Sequence[str | None]) -> None:
        self._stacks = stacks

    def json(self, stack: int) -> str | None:
        """A stack as a JSON array."""
        return self._stacks[stack - 1]


def _row(event: Sample, place: int) -> dict[str, Any]:
    name, values = event["event"], event.get("args") or []
    time_ns = _time_ns(event.get("time"))
    process, slot, number = _split(event.get("id"), place)
    frame = _code_frame(event.get("stack") or ())
    package = event.get("package") or {}
    python = event.get("python")
    is_own = event.get("category", "application") == "application"
    return {
        **{column: event.get(column) for column in _SAME},
        **describe(name, values, parse_version(python))._asdict(),
        "time": time_ns // 1000,
        "nanosecond": time_ns % 1000,
        "args": _json(values) if values else None,
        "fields": _json(event.get("fields")) if is_own else None,
        "process": event.get("process") or process,
        "slot": slot,
        "number": number,
        "argv": _json(event.get("argv")),
        "batch": "samples",
        "stack": place + 1,
        "file": frame.get("file"),
        "line": frame.get("line"),
        "function": frame.get("function"),
        "package": package.get("name"),
        "version": package.get("version"),
        "context": _json(event.get("context")),
        "notes": event.get("notes"),
    }


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _time_ns(text: Any) -> int:
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return 0
    moment = datetime.datetime.fromisoformat(match[1] + "+00:00")
    seconds = (moment - datetime.datetime.fromtimestamp(0, datetime.timezone.utc)) // datetime.timedelta(seconds=1)
    return seconds * _SECOND_NS + int((match[2] or "0").ljust(9, "0"))


def _split(id: Any, place: int) -> tuple[str, int, int]:
    parts = id.split("/") if isinstance(id, str) else []
    if len(parts) != 3 or not (parts[1].isdecimal() and parts[2].isdecimal()):
        return "", 0, place
    return parts[0], int(parts[1]), int(parts[2])


def _code_frame(stack: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The innermost frame outside the standard library; where all is library, the innermost in a file."""
    frames = list(stack)
    outside = (frame for frame in frames if not _LIBRARY.match(str(frame.get("file", ""))))
    in_file = (frame for frame in frames if not str(frame.get("file", "")).startswith("<frozen "))
    return next(outside, None) or next(in_file, None) or (frames[0] if frames else {})
