"""Columns to events, and events to JSON (one object a line, the contract of the README).

Nearly everything about an event repeats: its name, its thread and process, its stack, often its
arguments. Each of these is turned into JSON text once and kept; an event's line is then a few pieces
of text put together. All caches are bounded: names and arguments come from whoever wrote the journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any

import orjson

from pythonaudit import catalog
from pythonaudit.journal import fields, layout
from pythonaudit.journal.attribution import Attribution, attribute
from pythonaudit.journal.chunks import Damage
from pythonaudit.journal.contexts import Contexts
from pythonaudit.journal.packages import Package
from pythonaudit.journal.process import Process, build_process
from pythonaudit.journal.segment import Column, Segment
from pythonaudit.journal.stacks import Frame, Stacks

APPLICATION = "application"

_NO_ARGUMENTS = b"[]"
_ROWS = 4096  # events made at a time
_CACHE_ENTRIES = 16384
_CACHE_BYTES = 32 << 20
_CACHE_NAMES = 16  # more arguments than this have no names of their own

_SOURCES = {number: f',"source":"{name}"'.encode() for number, name in layout.SOURCES.items()}


# Arguments and fields of an event as JSON, and both as members of its JSON object, with the template.
Said = tuple[bytes, bytes, bytes]

# Empty, and never written to.
_NO_HEADS: dict[int, bytes] = {}
_NOTHING_SAID: dict[bytes, Said] = {}
_NO_ARG_NAMES: dict[int, tuple[str, ...]] = {}


class Name:
    """The name of events in a segment, and what is known of it.

    Attributes:
        text: the name as it was raised.
        info: the catalog's entry, or None: it is an application's.
        category: of the catalog, or "application".
        heads: name, category and source as JSON, by source.
        said: what was made of arguments, by these.
        arg_names: names of arguments, by how many there are.
    """

    __slots__ = ("_message", "arg_names", "category", "heads", "info", "said", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.info = catalog.lookup(text)
        self.category = self.info.category if self.info else APPLICATION
        # Most names in some journals are raised once: what is kept of them must cost nothing.
        self.heads, self.said, self.arg_names = _NO_HEADS, _NOTHING_SAID, _NO_ARG_NAMES
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

    def build_head(self, source: int) -> bytes:
        """Name, category and source as JSON, for `heads`."""
        found = b'"event":%s,"category":"%s"%s' % (
            orjson.dumps(self.text),
            self.category.encode(),
            _SOURCES.get(source, b""),
        )
        self.heads = {**self.heads, source: found}
        return found


class Thread:
    """A thread (slot) of a process in an interpreter, with the JSON of both around an event's number."""

    __slots__ = ("after", "before", "interpreter", "name", "process", "slot", "tid")

    def __init__(self, process: Process, slot: int, tid: int, interpreter: int, name: str | None) -> None:
        self.process, self.slot, self.tid, self.interpreter = process, slot, tid, interpreter
        self.name = name
        self.before = b',"id":"%s/%d/' % (process.id.encode(), slot)
        attributes = {
            "host": process.host,
            "boot": process.boot or None,
            "process": process.id,
            "pid": process.pid,
            "ppid": process.ppid,
            "tid": tid,
            "thread": name,
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
        context_id: of its context in the segment; 0: none.
        decoder, row: the segment, and its place there.
    """

    __slots__ = (
        *("_name", "_source", "args", "context_id", "decoder"),
        *("note_bits", "number", "row", "stack_id", "thread", "time_ns"),
    )

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
        context_id: int,
        decoder: SegmentDecoder,
        row: int,
    ) -> None:
        self.time_ns = time_ns
        self._name = name
        self._source = source
        self.args = args
        self.number = number
        self.thread = thread
        self.stack_id = stack_id
        self.note_bits = note_bits
        self.context_id = context_id
        self.decoder = decoder
        self.row = row

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
        return self.decoder.load_arguments(self.args)

    @property
    def arg_names(self) -> tuple[str, ...]:
        """The names of its arguments; those without one are arg0, arg1, …."""
        return self.name_values(self.values)

    def name_values(self, values: Sequence[Any]) -> tuple[str, ...]:
        """The same, where `values` are known."""
        return self.decoder.arg_names(self._name, len(values))

    @property
    def fields(self) -> dict[str, Any]:
        """Its arguments by name, for people: tagged forms flattened, None left out."""
        text = self.decoder.said(self._name, self.args)[1]
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
        return self.decoder.segment.stack(self.stack_id)

    @property
    def code_frame(self) -> Frame | None:
        """The line of code that did it: the innermost frame outside the standard library.

        Where all is library: the innermost in a file. None: there is none of either.
        """
        return self.decoder.stacks.code_frame(self.stack_id)

    @property
    def package(self) -> Package | None:
        """The distribution or project that did it (`attribution`)."""
        known = self.decoder.attribution
        return known.packages[int(known.rows[self.row])]

    @property
    def context(self) -> dict[str, Any]:
        """The fields of the context that it happened in, ids of a trace included."""
        return self.decoder.contexts.fields(self.context_id)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to it (docs/format/journal.md section 5)."""
        return note_names(self.note_bits)

    def to_json(self) -> bytes:
        """The event as one JSON object, without a line end."""
        name, thread, args, source = self._name, self.thread, self.args, self._source
        second, rest = divmod(self.time_ns, 1_000_000_000)
        parts = (
            b'{"time":"',
            _format_second(second),
            b'.%09dZ",' % rest,
            name.heads.get(source) or name.build_head(source),
            (name.said.get(args) or self.decoder.said(name, args))[2],
            thread.before,
            b"%d" % self.number,
            thread.after,
            b',"stack":[' + self.decoder.stacks.rest(self.stack_id) if self.stack_id else b"",
            self.decoder.package_members[self.row],
            self.decoder.contexts.member(self.context_id) if self.context_id else b"",
            _notes_json(self.note_bits) if self.note_bits else b"",
            b"}",
        )
        return b"".join(parts)


class SegmentDecoder:
    """Makes events of the rows of one segment.

    Args:
        segment: the segment.
        uid: owner of its file.
        report: is told of damage that is found later: arguments are looked at when they are asked for.
        attribution: of its events to packages; None: by what is installed now.

    Attributes:
        process: who recorded.
        batch: of the archive, in which it is; empty: it is in the journal.
    """

    def __init__(
        self,
        segment: Segment,
        uid: int,
        report: Callable[[Damage], None] | None = None,
        attribution: Attribution | None = None,
    ) -> None:
        self.segment = segment
        self._attribution = attribution
        self._report = report or segment.damage.append
        self.process = build_process(segment.header, segment.attributes, uid)
        self.batch = ""
        self._names: dict[int, Name] = {}
        self._threads: dict[tuple[int, int, int, int], Thread] = {}
        self.contexts = Contexts(segment, self._report)
        self._said = self._said_bytes = 0

    @cached_property
    def stacks(self) -> Stacks:
        """Its stacks."""
        return Stacks(self.segment)

    @cached_property
    def attribution(self) -> Attribution:
        """Whose code raised its events."""
        return self._attribution or attribute(self)

    @cached_property
    def package_members(self) -> list[bytes]:
        """For each event, the member of its JSON object that tells its package."""
        members = self.attribution.members()
        return [members[package] for package in self.attribution.rows.tolist()]

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
        key, thread = (-1, -1, -1, -1), None
        for begin in range(0, len(rows), _ROWS):
            places = rows[begin : begin + _ROWS]
            columns = (column.tolist() for column in self.segment.events.take(places).columns())
            for (
                moment, source, notes, name_id, inline, stack, start, length, slot, tid, interpreter, number, context,
                called, row
            ) in zip(*columns, places.tolist(), strict=True):  # fmt: skip
                end = start + length
                if inline:
                    name = Name(data[end : end + inline].decode("utf-8", "replace"))
                else:
                    name = names.get(name_id) or self.name(name_id)
                if thread is None or (slot, tid, interpreter, called) != key:
                    key = slot, tid, interpreter, called
                    thread = threads.get(key) or self._thread(*key)
                yield Event(
                    moment, name, source, data[start:end], number, thread, stack, notes, context, self, row
                )

    def _thread(self, slot: int, tid: int, interpreter: int, called: int) -> Thread:
        if len(self._threads) >= _CACHE_ENTRIES:
            self._threads.clear()
        name = self.segment.text(called) if called else None
        thread = self._threads[slot, tid, interpreter, called] = Thread(self.process, slot, tid, interpreter, name)
        return thread

    def load_arguments(self, args: bytes) -> list[Any]:
        """Arguments, decoded; none if they are not sound."""
        values = _load_array(args) if args else []
        if values is None:
            offset = bytes(self.segment.data).find(args)
            self._report(Damage(None, offset, len(args), "arguments that are not a JSON array"))
            return []
        if b'"$text":' in args:
            self._resolve(values)
        return values

    def arg_names(self, name: Name, count: int) -> tuple[str, ...]:
        """The names of so many arguments of an event."""
        found = name.arg_names.get(count)
        if found is None:
            found = catalog.argument_names(name.text, count, self.process.python_version)
            if count < _CACHE_NAMES:
                name.arg_names = {**name.arg_names, count: found}
        return found

    def said(self, name: Name, args: bytes) -> Said:
        """Arguments and fields as JSON, and both together as members of the event's object, with its
        template. Empty where there is nothing to say, or nothing sound.
        """
        found = name.said.get(args)
        if found is None:
            found = self.describe(name, args)
            self._said_bytes += len(args) + 2 * len(found[2])
            self._said += 1
            if self._said > _CACHE_ENTRIES or self._said_bytes > _CACHE_BYTES:
                for known in self._names.values():
                    known.said = _NOTHING_SAID
                self._said = self._said_bytes = 0
            if name.said is _NOTHING_SAID:
                name.said = {}
            name.said[args] = found
        return found

    def describe(self, name: Name, args: bytes) -> Said:
        """The same, made anew."""
        values = [] if args == _NO_ARGUMENTS else self.load_arguments(args)
        tagged = b'"$' in args
        if tagged and b'"$text":' in args:
            args = orjson.dumps(values)
        # No recorder writes lines within arguments. Whoever forged them would add lines to JSON lines.
        shown = orjson.dumps(values) if b"\n" in args or b"\r" in args else args
        pairs, template = ({}, "") if name.info else name.message
        if name.info:
            names = self.arg_names(name, len(values))
            named = fields.named_fields(names, values, plain=not tagged)
            described = orjson.dumps(named) if named else b""
        elif not values:
            described = orjson.dumps(pairs) if pairs else b""
        elif len(values) == 1 and not tagged and not pairs and isinstance(values[0], dict):
            described = shown[1:-1] if values[0] else b""
        else:
            found = fields.application_fields(pairs, values)
            described = orjson.dumps(found) if found else b""
        sound = args if values else b""
        members = b',"args":' + shown if values else b""
        if described:
            members += b',"fields":' + described
        if pairs:
            members += b',"template":' + orjson.dumps(template)
        return sound, described, members

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
    nested = len(text) > 2 * layout.DEPTH_MAX and text.count(b"[") + text.count(b"{") > layout.DEPTH_MAX
    if nested and _is_deeper(value, layout.DEPTH_MAX):
        return None
    return value if isinstance(value, list) else None


def _is_deeper(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in value)
