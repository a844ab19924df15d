"""Events to hashes, and whether these are what was sealed.

Part of verify.py (`offline`).
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from pythonaudit.export.offline.files import WrongError, canonical, hash_object, load, members
from pythonaudit.export.offline.log import Log, Record
from pythonaudit.export.offline.seal import digest, hash_leaf, root_of

#: Members of an event that its own hash proves; `id` is its process, thread and number.
IN_THE_HASH = (
    "time",
    "event",
    "source",
    "args",
    "id",
    "tid",
    "thread",
    "interpreter",
    "stack",
    "context",
    "notes",
)
#: Members that the row of its segment proves.
IN_THE_ROW = ("host", "boot", "process", "pid", "ppid", "run", "python", "exe", "argv", "cwd", "uid")
#: Members that pythonaudit made of the others, or of what is installed on the host.
NOT_PROVEN = ("category", "fields", "template", "user", "package")
#: Columns of the row of a segment by which a record says whose its events are.
IDENTITY = (
    *("process", "sequence", "uid", "parent", "host", "boot", "pid", "ppid", "pid_start", "pid_namespace", "way"),
    *("run", "python", "exe", "argv", "cwd", "begin_ns"),
)
_TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})\.([0-9]{9})Z")
_ID = re.compile(r"([0-9a-f]{32})/(0|[1-9][0-9]{0,9})/(0|[1-9][0-9]{0,19})")
_NOTE = re.compile(r"[a-z0-9-]+")
_HEAD = struct.Struct("<qQIIII6I32s")
_LENGTH = struct.Struct("<I")
_NULL = 0xFFFFFFFF
_VERSION = 1


def parse_time(text: Any) -> int:
    """A time as nanoseconds since 1970."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("no time")
    year, month, day, hour, minute, second, nanosecond = map(int, match.groups())
    passed = datetime(year, month, day, hour, minute, second) - datetime(1970, 1, 1)
    return (passed.days * 86400 + passed.seconds) * 1000000000 + nanosecond


def parse_id(text: Any) -> tuple[str, int, int]:
    """Process, slot and number of an event."""
    match = _ID.fullmatch(text)
    if match is None:
        raise ValueError("no id of an event")
    return match.group(1), int(match.group(2)), int(match.group(3))


def hash_event(said: dict[str, tuple[Any, str]], exact: dict[str, Any]) -> bytes:
    """The hash of an event.

    Args:
        said: its members, as `members` gives them.
        exact: what these say in other words than was hashed: `args`, `context`, and which frames are `unknown`.

    Raises:
        AttributeError, KeyError, TypeError, ValueError, struct.error: it is no event.
    """
    values = {name: said[name][0] for name in IN_THE_HASH if name in said}
    _, slot, number = parse_id(values["id"])
    texts = [
        _text(values["event"]),
        _text(values.get("source")),
        without_text(_exact("args", list, said, exact)),
        _text(values.get("thread")),
        _exact("context", dict, said, exact),
        _notes(values.get("notes")),
    ]
    data = [None if text is None else text.encode() for text in texts]
    lengths = [_NULL if text is None else len(text) for text in data]
    numbers = parse_time(values["time"]), number, slot, _whole(values["tid"]), _whole(values["interpreter"])
    stack = hash_stack(said["stack"][1], tuple(exact.get("unknown", ()))) if "stack" in said else bytes(32)
    rest = b"".join(text for text in data if text is not None)
    return hash_leaf(_HEAD.pack(*numbers, _VERSION, *lengths, stack) + rest)


@lru_cache(maxsize=4096)
def hash_stack(text: str, unknown: Sequence[int]) -> bytes:
    """The hash of a stack, from its JSON, which has an empty text also where file and function are unknown."""
    frames = load(text)
    if type(frames) is not list or not frames:
        raise ValueError("no stack")
    stack = bytes(32)
    for at, frame in reversed(list(enumerate(frames))):
        if frame.keys() - {"line"} != {"file", "function"} or ("line" in frame and _whole(frame["line"]) == 0):
            raise ValueError("no frame of a stack")
        stack += _LENGTH.pack(frame.get("line", 0))
        for name in (_text(frame["file"]), _text(frame["function"])):
            if name is None or (at in unknown and name):
                raise ValueError("no frame of a stack")
            data = name.encode()
            stack += _LENGTH.pack(_NULL if at in unknown else len(data)) + data
        stack = hashlib.sha256(stack).digest()
    return stack


def without_text(args: str | None) -> str | None:
    """Arguments without the texts that are told by length and hash as well: these are not in the hash of an event."""
    return canonical(_shortened(json.loads(args))) if args is not None and '"$text":' in args else args


def _shortened(value: Any) -> Any:
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    if isinstance(value, dict):
        left_out = next(iter(value), "") == "$length"
        return {key: _shortened(item) for key, item in value.items() if not (left_out and key == "$text")}
    return value


def _exact(name: str, kind: type, said: dict[str, tuple[Any, str]], exact: dict[str, Any]) -> str | None:
    if name not in said:
        return None
    value, text = said[name]
    if type(value) is not kind or not value:
        raise ValueError(f"{name} that make no sense")
    if name in exact:
        text = _text(exact[name]) or ""
        if canonical(load(said[name][1])) != canonical(json.loads(text)):
            raise ValueError(f"{name} are not those that were recorded")
    return text


def _text(value: Any) -> str | None:
    if value is not None and type(value) is not str:
        raise TypeError("a text is expected")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("a number is expected")
    return value


def _notes(value: Any) -> str | None:
    if value is None:
        return None
    if type(value) is not list or not value or not all(_NOTE.fullmatch(note) for note in value):
        raise ValueError("notes that make no sense")
    return ",".join(value)


class Events:
    """The events, one after the other.

    Attributes:
        count: how many. `records`: those by which they are proven. `first_ns`, `last_ns`: their times.
        texts: how many have a text that is told by length and hash as well.
    """

    def __init__(self, log: Log, segments: dict[tuple[Any, ...], dict[str, Any]]) -> None:
        self._log, self._segments = log, segments
        self._seen: set[tuple[int, int]] = set()
        self._identity: dict[tuple[Any, ...], str] = {}
        self._process: tuple[int, list[str]] | None = None
        self.records: dict[int, Record] = {}
        self.count = self.texts = 0
        self.first_ns, self.last_ns = 1 << 63, 0

    def verify(self, place: str, line: bytes, proof: dict[str, Any]) -> dict[str, Any]:
        """What is proven of an event; its proof stands in the line with the same number."""
        try:
            said = members(line)
            process, slot, number = parse_id(said["id"][0])
            if proof.get("id") != said["id"][0]:
                raise WrongError(place, "the proof in the same line is of another event")
            leaf, time_ns = hash_event(said, proof), parse_time(said["time"][0])
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError, struct.error) as error:
            raise WrongError(place, f"no event: {str(error)!a}") from None
        unknown = sorted(said.keys() - {*IN_THE_HASH, *IN_THE_ROW, *NOT_PROVEN})
        if unknown:
            raise WrongError(place, f"{unknown[0]!a} is nothing that events have")
        number_of = proof.get("record")
        record = self._log.records.get(number_of) if type(number_of) is int else None
        if record is None or record.kind != "events":
            raise WrongError(place, "its proof names no record of events")
        index, size = self._place(record, slot, number), record.said.get("events")
        root = digest(record.said.get("root"))
        path = proof.get("path")
        if index is None or index != proof.get("index") or type(proof["index"]) is not int:
            raise WrongError(place, f"record {record.number} is not about it")
        if root is None or root_of(leaf, index, size, path) != root:
            raise WrongError(place, f"it is not what record {record.number} sealed")
        if process != record.said.get("process"):
            raise WrongError(place, f"it is of another process than record {record.number} says")
        self._verify_process(place, said, record)
        if (record.number, index) in self._seen:
            raise WrongError(place, "is there twice")
        self._seen.add((record.number, index))
        self.records[record.number] = record
        self.count += 1
        self.first_ns, self.last_ns = min(self.first_ns, time_ns), max(self.last_ns, time_ns)
        proven = {name: value for name, (value, _) in said.items() if name not in NOT_PROVEN}
        if '"$text":' in said.get("args", (None, ""))[1]:
            proven["args"] = _shortened(proven["args"])
            self.texts += 1
        return proven

    def _place(self, record: Record, slot: int, number: int) -> int | None:
        """Which of a record's events it is."""
        before = 0
        try:
            for of_slot, first, count in record.said["runs"]:
                if of_slot == slot and first <= number < first + count:
                    return before + number - _whole(first)
                before += count
        except (KeyError, TypeError, ValueError):
            pass
        return None

    def _verify_process(self, place: str, said: dict[str, tuple[Any, str]], record: Record) -> None:
        texts = record.number, [said.get(name, (None, ""))[1] for name in IN_THE_ROW]
        if texts == self._process:
            return  # as of the event before
        row = self._segments.get(record.segment)
        if row is None:
            raise WrongError(place, "nothing in segments.jsonl says whose it is")
        if record.segment not in self._identity:
            columns = {name: row[name] for name in IDENTITY if name in row}
            self._identity[record.segment] = hash_object(columns)
        if self._identity[record.segment] != record.said.get("identity"):
            raise WrongError(place, f"record {record.number} is about another process than segments.jsonl")
        for name in IN_THE_ROW:
            value = said[name][0] if name in said else None
            known = row.get(name)
            if name == "argv" and type(known) is str:
                known = json.loads(known)
            if canonical(value) != canonical(known):
                raise WrongError(place, f"{name} is not what segments.jsonl says of its process")
        self._process = texts
