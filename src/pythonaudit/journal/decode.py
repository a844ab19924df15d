"""Columns to events, and events to JSON (one object a line, the contract of the README).

Nearly everything about an event repeats: its name, its thread and process, its stack, often its
arguments. Each of these is turned into JSON text once and kept; an event's line is then a few pieces
of text put together. All caches are bounded: names and arguments come from whoever wrote the journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import orjson

from pythonaudit import catalog
from pythonaudit.journal import fields, layout
from pythonaudit.journal.chunks import Damage
from pythonaudit.journal.process import Process, build_process
from pythonaudit.journal.segment import Column, Segment

Frame = tuple[str, int, str]

APPLICATION = "application"

_ROWS = 4096  # events made at a time
_CACHE_ENTRIES = 16384
_CACHE_BYTES = 32 << 20

_SOURCES = {number: f',"source":"{name}"'.encode() for number, name in layout.SOURCES.items()}


class Name:
    """The name of events, and what is known of it.

    Attributes:
        text: the name as it was raised.
        info: the catalog's entry, or None: it is an application's.
        category: of the catalog, or "application".
    """

    __slots__ = ("_heads", "_message", "category", "info", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.info = catalog.lookup(text)
        self.category = self.info.category if self.info else APPLICATION
        self._heads: dict[int, bytes] = {}
        self._message: tuple[dict[str, str], str] | None = None

    @property
    def message(self) -> tuple[dict[str, str], str]:
        """`key=value` pairs of a free-form name, and its template."""
        if self._message is None:
            self._message = ({}, self.text) if self.info else fields.parse_message(self.text)
        return self._message

    @property
    def template(self) -> str | None:
        """The free-form name with `*` for its values; None if it has none."""
        pairs, template = self.message
        return template if pairs else None

    def head(self, source: int) -> bytes:
        """Name, category and source as JSON."""
        found = self._heads.get(source)
        if found is None:
            found = b'"event":' + orjson.dumps(self.text) + b',"category":"%s"' % self.category.encode()
            found = self._heads[source] = found + _SOURCES.get(source, b"")
        return found


class Thread:
    """A thread (slot) of a process in an interpreter, with the JSON of both around an event's number."""

    __slots__ = ("after", "before", "interpreter", "process", "slot", "tid")

    def __init__(self, process: Process, slot: int, tid: int, interpreter: int) -> None:
        self.process, self.slot, self.tid, self.interpreter = process, slot, tid, interpreter
        self.before = b',"id":"%s/%d/' % (process.id.encode(), slot)
        attributes = {
            "host": process.host,
            "boot": process.boot or None,
            "process": process.id,
            "pid": process.pid,
            "ppid": process.ppid,
            "tid": tid,
            "interpreter": interpreter,
            "run": process.run,
            "python": process.python,
            "exe": process.exe,
            "argv": process.argv or None,
            "cwd": process.cwd,
            "uid": process.uid,
            "user": process.user,
        }
        said = {name: value for name, value in attributes.items() if value is not None}
        self.after = b'",' + orjson.dumps(said)[1:-1]


class Event:
    """One event.

    Attributes:
        time_ns: when, nanoseconds since 1970.
        args: its arguments, a JSON array (docs/format/journal.md section 8).
        number: of the event in its thread.
        thread: which thread raised it.
        stack_id: of its stack in the segment; 0: none.
        note_bits: as in the segment.
    """

    __slots__ = ("_name", "_segment", "_source", "args", "note_bits", "number", "stack_id", "thread", "time_ns")

    def __init__(
        self,
        time_ns: int,
        name: Name,
        source: int,
        args: bytes,
        number: int,
        thread: Thread,
        stack_id: int,
        note_bits: int,
        segment: SegmentDecoder,
    ) -> None:
        self.time_ns = time_ns
        self._name = name
        self._source = source
        self.args = args
        self.number = number
        self.thread = thread
        self.stack_id = stack_id
        self.note_bits = note_bits
        self._segment = segment

    @property
    def event(self) -> str:
        """Its name, exactly as it was raised."""
        return self._name.text

    @property
    def info(self) -> catalog.EventInfo | None:
        """What the catalog knows of its name."""
        return self._name.info

    @property
    def category(self) -> str:
        """The catalog's category, or "application"."""
        return self._name.category

    @property
    def source(self) -> str:
        """Who raised it: interpreter, stdlib or application."""
        return layout.SOURCES.get(self._source, "unknown")

    @property
    def template(self) -> str | None:
        """A free-form name with `*` for its values; None if it has none."""
        return self._name.template

    @property
    def values(self) -> list[Any]:
        """Its arguments, decoded."""
        return _load_array(self._segment.said(self._name, self.args)[0]) or []

    @property
    def arg_names(self) -> tuple[str, ...]:
        """The names of its arguments; those without one are arg0, arg1, …."""
        return catalog.argument_names(self.event, len(self.values), self.process.python_version)

    @property
    def fields(self) -> dict[str, Any]:
        """Its arguments by name, for people: tagged forms flattened, None left out."""
        text = self._segment.said(self._name, self.args)[1]
        found: dict[str, Any] = orjson.loads(text) if text else {}
        return found

    @property
    def id(self) -> str:
        """Identifies the event on all hosts and for all time."""
        return f"{self.process.id}/{self.thread.slot}/{self.number}"

    @property
    def process(self) -> Process:
        """Who recorded it."""
        return self.thread.process

    @property
    def tid(self) -> int:
        """The kernel's id of its thread."""
        return self.thread.tid

    @property
    def interpreter(self) -> int:
        """Id of its interpreter in the process; 0 is the main one."""
        return self.thread.interpreter

    @property
    def stack(self) -> list[Frame]:
        """File, line and function, innermost first."""
        return self._segment.segment.stack(self.stack_id)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to it (docs/format/journal.md section 5)."""
        return note_names(self.note_bits)

    def to_json(self) -> bytes:
        """The event as one JSON object, without a line end."""
        segment, name, thread = self._segment, self._name, self.thread
        second, rest = divmod(self.time_ns, 1_000_000_000)
        return b'{"time":"%s.%09dZ",%s%s%s%d%s%s%s}' % (
            _format_second(second),
            rest,
            name.head(self._source),
            segment.said(name, self.args)[2],
            thread.before,
            self.number,
            thread.after,
            b',"stack":' + segment.stack_json(self.stack_id) if self.stack_id else b"",
            _notes_json(self.note_bits) if self.note_bits else b"",
        )


# Arguments and fields of an event as JSON, and both as members of its JSON object, with the template.
Said = tuple[bytes, bytes, bytes]


class SegmentDecoder:
    """Makes events of the rows of one segment.

    Args:
        segment: the segment.
        uid: owner of its file.
        report: is told of damage that is found later: arguments are looked at when they are asked for.
    """

    def __init__(self, segment: Segment, uid: int, report: Callable[[Damage], None] | None = None) -> None:
        self.segment = segment
        self._report = report or segment.damage.append
        self.process = build_process(segment.header, segment.attributes, uid)
        self._names: dict[int, Name] = {}
        self._threads: dict[tuple[int, int, int], Thread] = {}
        self._said: dict[tuple[str, bytes], Said] = {}
        self._said_bytes = 0
        self._arg_names: dict[tuple[str, int], tuple[str, ...]] = {}
        self._stacks: dict[int, tuple[int, bytes]] = {}
        self._stack_bytes = 0
        self._code_json: dict[int, tuple[bytes, bytes]] = {}
        self._parents: list[int] = segment.node_parent.tolist()
        self._codes: list[int] = segment.node_code.tolist()
        self._lines: list[int] = segment.node_line.tolist()

    def name(self, number: int) -> Name:
        """The name with this string id."""
        name = self._names.get(number)
        if name is None:
            if len(self._names) >= _CACHE_ENTRIES:
                self._names.clear()
            name = self._names[number] = Name(self.segment.text(number))
        return name

    def events(self, rows: Column) -> Iterator[Event]:
        """The events at these positions of `segment.events`, in this order."""
        data, names, threads = bytes(self.segment.data), self._names, self._threads
        for begin in range(0, len(rows), _ROWS):
            part = self.segment.events.take(rows[begin : begin + _ROWS])
            columns = (column.tolist() for column in part.columns())
            for (
                moment, source, notes, name_id, inline, stack, start, length, slot, tid, interpreter, number
            ) in zip(*columns, strict=True):  # fmt: skip
                end = start + length
                if inline:
                    name = Name(data[end : end + inline].decode("utf-8", "replace"))
                else:
                    name = names.get(name_id) or self.name(name_id)
                key = slot, tid, interpreter
                thread = threads.get(key)
                if thread is None:
                    if len(threads) >= _CACHE_ENTRIES:
                        threads.clear()
                    thread = threads[key] = Thread(self.process, *key)
                yield Event(moment, name, source, data[start:end], number, thread, stack, notes, self)

    def said(self, name: Name, args: bytes) -> Said:
        """Arguments and fields as JSON, and both together as members of the event's object, with its
        template. Empty where there is nothing to say, or nothing sound.
        """
        key = (name.text, args)
        found = self._said.get(key)
        if found is None:
            found = self._decode_arguments(name, args)
            self._said_bytes += len(name.text) + len(args) + 2 * len(found[2])
            if len(self._said) >= _CACHE_ENTRIES or self._said_bytes > _CACHE_BYTES:
                self._said.clear()
                self._said_bytes = 0
            self._said[key] = found
        return found

    def stack_json(self, node: int) -> bytes:
        """A stack as a JSON array, innermost first."""
        found = self._stacks.get(node)
        if found is None:
            found = self._build_stack(node)
            self._stack_bytes += len(found[1])
            if self._stack_bytes > _CACHE_BYTES:
                self._stacks.clear()
                self._stack_bytes = len(found[1])
            self._stacks[node] = found
        return b"[%s]" % found[1]

    def _build_stack(self, node: int) -> tuple[int, bytes]:
        """How many frames a stack has, and these as JSON.

        Deep stacks mostly share their outer frames with one that is known already: while modules
        are imported, nearly every stack is a new one, and nearly all of it is not.
        """
        frames: list[bytes] = []
        at, depth = node, 0
        while at and depth < layout.STACK_MAX_NODES:
            known = self._stacks.get(at)
            if known is not None and depth + known[0] <= layout.STACK_MAX_NODES:
                frames.append(known[1])
                return depth + known[0], b",".join(frames)
            before, after = self._code_json.get(self._codes[at]) or self._build_code_json(self._codes[at])
            line = self._lines[at]
            frames.append(b'%s"line":%d,%s' % (before, line, after) if line else before + after)
            at = self._parents[at]
            depth += 1
        return depth, b",".join(frames)

    def _build_code_json(self, code: int) -> tuple[bytes, bytes]:
        """The JSON object of a frame, before and after its line."""
        file = self.segment.text(int(self.segment.code_file[code]))
        function = self.segment.text(int(self.segment.code_function[code]))
        found = b'{"file":%s,' % orjson.dumps(file), b'"function":%s}' % orjson.dumps(function)
        # What is kept is in proportion to the segment: codes are many, but long names are not.
        if len(file) + len(function) <= layout.NAME_MAX_BYTES // 4:
            self._code_json[code] = found
        return found

    def _decode_arguments(self, name: Name, args: bytes) -> Said:
        values = _load_array(args) if args else []
        if values is None:
            offset = bytes(self.segment.data).find(args)
            self._report(Damage(None, offset, len(args), "arguments that are not a JSON array"))
            values, args = [], b""
        if b'"$text":' in args and self._resolve(values):
            args = orjson.dumps(values)
        pairs, template = name.message
        described = self._describe(name, pairs, values, args) if values or pairs else b""
        sound = args if values else b""
        members = b',"args":' + sound if sound else b""
        if described:
            members += b',"fields":' + described
        if pairs:
            members += b',"template":' + orjson.dumps(template)
        return sound, described, members

    def _describe(self, name: Name, pairs: dict[str, str], values: list[Any], args: bytes) -> bytes:
        """The fields as a JSON object; empty if there are none."""
        plain = b'"$' not in args  # no tagged form anywhere
        if name.info is not None:
            found = fields.named_fields(self._names_of(name, len(values)), values, plain)
        elif plain and not pairs and len(values) == 1 and isinstance(values[0], dict):
            return args[1:-1] if values[0] else b""
        else:
            found = fields.application_fields(pairs, values)
        return orjson.dumps(found) if found else b""

    def _names_of(self, name: Name, count: int) -> tuple[str, ...]:
        key = (name.text, count)
        found = self._arg_names.get(key)
        if found is None:
            found = catalog.argument_names(name.text, count, self.process.python_version)
            if len(self._arg_names) < _CACHE_ENTRIES:
                self._arg_names[key] = found
        return found

    def _resolve(self, value: Any) -> bool:
        """Puts the text of a `$text` in place of its id, in place. Whether there was any."""
        if isinstance(value, list):
            return self._resolve_all(value)
        if not isinstance(value, dict):
            return False
        if next(iter(value), "") != "$length":
            return self._resolve_all(value.values())
        number = value.get("$text")
        if not isinstance(number, int):
            return False
        known = 0 <= number < len(self.segment.string_start)
        value["$text"] = self.segment.text(number) if known else ""
        return True

    def _resolve_all(self, values: Iterable[Any]) -> bool:
        return sum(map(self._resolve, values)) > 0


def note_names(bits: int) -> tuple[str, ...]:
    """The notes of an event as text; bits of later versions are left out."""
    return tuple(name for bit, name in enumerate(layout.NOTES) if bits >> bit & 1)


@lru_cache(maxsize=512)
def _notes_json(bits: int) -> bytes:
    names = note_names(bits)
    return b',"notes":' + orjson.dumps(names) if names else b""


def format_time(time_ns: int) -> bytes:
    """A time as RFC 3339, in UTC and nanoseconds, without quotes."""
    second, rest = divmod(time_ns, 1_000_000_000)
    return b"%s.%09dZ" % (_format_second(second), rest)


@lru_cache(maxsize=1024)
def _format_second(second: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()


def _load_array(text: bytes) -> list[Any] | None:
    """The arguments, decoded; None if they are no JSON array, or nested as no recorder would nest."""
    try:
        value = orjson.loads(text) if text else []
    except orjson.JSONDecodeError:
        return None
    if text.count(b"[") + text.count(b"{") > layout.DEPTH_MAX and _is_deeper(value, layout.DEPTH_MAX):
        return None
    return value if isinstance(value, list) else None


def _is_deeper(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in value)
