"""Events to requests: ExportLogsServiceRequest, in bytes.

    encoder = Encoder()
    for body, count in encoder.requests(events): ...

One resource a process, one scope (`pythonaudit` and its version), one LogRecord an event. docs/guide/otlp.md says
which attribute holds what. Nearly everything about an event repeats; each piece is made once (`wire`) and kept as long
as the segment that it came from. All caches are bounded: names and arguments come from whoever wrote the journal.

Within a request, events are grouped by process, and in order within each.
"""

from __future__ import annotations

import json
import re
import struct
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from pythonaudit import __version__
from pythonaudit.export.kept import Kept
from pythonaudit.export.levels import level_of
from pythonaudit.export.otlp import wire
from pythonaudit.export.otlp.named import PREFIX, describe
from pythonaudit.journal.decode import Event, SegmentDecoder, Thread, note_names
from pythonaudit.journal.fields import named_fields
from pythonaudit.journal.packages import Package
from pythonaudit.journal.process import Process

#: Collectors take gRPC messages of 4 MiB, unless they are told otherwise.
REQUEST_BYTES = 2 << 20


# ExportLogsServiceRequest.resource_logs, ResourceLogs.resource, .scope_logs, .schema_url, ScopeLogs.scope,
# .log_records, .schema_url; Resource.attributes; InstrumentationScope.name, .version.
_RESOURCE_LOGS, _RESOURCE, _SCOPE_LOGS, _SCHEMA_URL = b"\x0a", b"\x0a", b"\x12", b"\x1a"
_SCOPE, _LOG_RECORDS, _RESOURCE_ATTRIBUTES, _NAME, _VERSION = b"\x0a", b"\x12", b"\x0a", b"\x0a", b"\x12"
# LogRecord: severity_number, severity_text, body, attributes, trace_id, span_id, event_name; and
# time_unix_nano and observed_time_unix_nano, each with its fixed64.
_SEVERITY_NUMBER, _SEVERITY_TEXT, _BODY, _ATTRIBUTES = b"\x10", b"\x1a", b"\x2a", b"\x32"
_TRACE_ID, _SPAN_ID, _EVENT_NAME = b"\x4a", b"\x52", b"\x62"
_TIMES = struct.Struct("<BQBQ")
_TIME, _OBSERVED = 0x09, 0x59

_SCHEMA = b"https://opentelemetry.io/schemas/1.37.0"
_TRACE = re.compile(r"[0-9a-f]{32}")
_SPAN = re.compile(r"[0-9a-f]{16}")
_ID_KEYS = ("log.record.uid", PREFIX + "id")
_FIELDS, _CONTEXT = PREFIX + "fields.", PREFIX + "context."


class Encoder:
    """Makes requests of events.

    Args:
        service: `service.name` of every process; None: `unknown_service:` and the program's name, as OpenTelemetry
            has it.
    """

    def __init__(self, service: str | None = None) -> None:
        self._service = service
        self._segments: WeakKeyDictionary[SegmentDecoder, _Pieces] = WeakKeyDictionary()
        scope = wire.field(_NAME, b"pythonaudit") + wire.field(_VERSION, __version__.encode())
        self._scope = wire.field(_SCOPE, scope)
        self._schema = wire.field(_SCHEMA_URL, _SCHEMA)

    def requests(self, events: Sequence[Event]) -> Iterator[tuple[bytes, int]]:
        """Requests of a few MiB, each with how many events are in it.

        Args:
            events: which; `observed_time_unix_nano` is now.
        """
        observed_ns = time.time_ns()
        records: dict[bytes, list[bytes]] = defaultdict(list)
        size = count = 0
        decoder, pieces = None, _Pieces(b"")
        for event in events:
            if event.decoder is not decoder:
                decoder = event.decoder
                pieces = self._segments.get(decoder) or self._begin(event)
            record = pieces.record(event, observed_ns)
            records[pieces.resource] += _LOG_RECORDS, wire.varint[len(record)], record
            size, count = size + len(record), count + 1
            if size > REQUEST_BYTES:
                yield self._build(records), count
                records.clear()
                size = count = 0
        if count:
            yield self._build(records), count

    def _begin(self, event: Event) -> _Pieces:
        attributes = wire.attributes(_RESOURCE_ATTRIBUTES, _resource(event.process, self._service))
        found = self._segments[event.decoder] = _Pieces(wire.field(_RESOURCE, attributes))
        return found

    def _build(self, records: dict[bytes, list[bytes]]) -> bytes:
        """A request of records by resource."""
        return b"".join(
            wire.field(
                _RESOURCE_LOGS,
                resource + wire.field(_SCOPE_LOGS, self._scope + b"".join(found) + self._schema) + self._schema,
            )
            for resource, found in records.items()
        )


class _Pile(Kept[bytes]):
    def add(self, key: Any, piece: bytes) -> bytes:
        return self.keep(key, piece, len(piece))


class _Pieces:
    """The pieces of records of one segment, as bytes of LogRecord's fields.

    Attributes:
        resource: the process, a field of ResourceLogs.
    """

    def __init__(self, resource: bytes) -> None:
        self.resource = resource
        self._names, self._said, self._threads = _Pile(), _Pile(), _Pile()
        self._stacks, self._contexts, self._notes = _Pile(), _Pile(), _Pile()
        self._packages: list[bytes] = []
        self._package_of: list[int] | None = None

    def record(self, event: Event, observed_ns: int) -> bytes:
        """A LogRecord."""
        # Each of these is asked for once: what is asked of an event costs more than what is made of it.
        name, source, args, thread = event.event, event.source, event.args, event.thread
        stack, context, bits = event.stack_id, event.context_id, event.note_bits
        if self._package_of is None:
            self._learn_packages(event.decoder)
        named, said = self._names.get((name, source)), self._said.get((name, args))
        by, trail = self._threads.get(thread), self._stacks.get(stack)
        within, notes = self._contexts.get(context), self._notes.get(bits)
        return b"".join(
            (
                _TIMES.pack(_TIME, event.time_ns, _OBSERVED, observed_ns),
                self._names.add((name, source), _name(event)) if named is None else named,
                self._said.add((name, args), _say(event)) if said is None else said,
                self._threads.add(thread, _thread(thread)) if by is None else by,
                _ids(b"%s/%d/%d" % (thread.process.id.encode(), thread.slot, event.number)),
                self._stacks.add(stack, _stack(event)) if trail is None else trail,
                self._packages[self._package_of[event.row]] if self._package_of else b"",
                self._contexts.add(context, _context(event.context)) if within is None else within,
                self._notes.add(bits, wire.attributes(_ATTRIBUTES, _notes(bits))) if notes is None else notes,
            )
        )

    def _learn_packages(self, decoder: SegmentDecoder) -> None:
        known = decoder.attribution
        self._package_of = known.rows.tolist()
        self._packages = [wire.attributes(_ATTRIBUTES, _package(package)) for package in known.packages]


def _resource(process: Process, service: str | None) -> list[tuple[str, Any]]:
    program = PurePosixPath(process.exe or "").name
    said = process.attributes.get("implementation")
    return [
        ("service.name", service or (f"unknown_service:{program}" if program else "unknown_service")),
        ("service.instance.id", str(UUID(process.id))),
        ("host.name", process.host),
        ("process.pid", process.pid),
        ("process.parent_pid", process.ppid),
        ("process.executable.path", process.exe),
        ("process.executable.name", program or None),
        ("process.command_args", [process.exe or "", *process.argv] if process.argv else None),
        ("process.working_directory", process.cwd),
        ("process.owner", process.user),
        ("process.runtime.name", said if isinstance(said, str) else None),
        ("process.runtime.version", process.python),
        ("user.id", str(process.uid)),
        ("user.name", process.user),
        (PREFIX + "process", process.id),
        (PREFIX + "parent", process.parent),
        (PREFIX + "boot", process.boot or None),
        (PREFIX + "run", process.run),
    ]


def _name(event: Event) -> bytes:
    """What the name says: the level too."""
    name, template, level = event.event, event.template, level_of(event.info)
    said = [
        (PREFIX + "category", event.category),
        (PREFIX + "source", event.source),
        (PREFIX + "event", name if template is not None else None),
    ]
    return b"".join(
        (
            _SEVERITY_NUMBER + wire.varint[level.otlp],
            wire.field(_SEVERITY_TEXT, level.name.encode()),
            wire.field(_EVENT_NAME, (name if template is None else template).encode()),
            wire.attributes(_ATTRIBUTES, said),
        )
    )


def _say(event: Event) -> bytes:
    """The body, and what the event acts on."""
    name, values = event.event, event.values
    body = wire.value(f"{name} {arguments_text(event, values)}" if values else name)
    fields, acts = event.fields if event.info is None else {}, []
    if event.info is not None:  # the same, for what is known of the arguments already
        fields = named_fields(event.name_values(values), values, plain=b'"$' not in event.args)
        acts = describe(name, values, event.process.python_version)
    # Unlike elsewhere, a field that is None was said to be None.
    told = [wire.attribute(_ATTRIBUTES, _FIELDS + key, said) for key, said in fields.items()]
    return wire.field(_BODY, body) + wire.attributes(_ATTRIBUTES, acts) + b"".join(told)


def arguments_text(event: Event, values: Sequence[Any]) -> str:
    """The arguments of an event as JSON.

    Args:
        event: which.
        values: the same, decoded.
    """
    if b'"$text":' in event.args:  # what that refers to stays behind
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return event.args.decode("utf-8", "replace")


def _thread(thread: Thread) -> bytes:
    said = [
        ("thread.id", thread.tid),
        ("thread.name", thread.name),
        (PREFIX + "interpreter", thread.interpreter or None),
    ]
    return wire.attributes(_ATTRIBUTES, said)


def _ids(id_: bytes) -> bytes:
    """The attributes that identify an event."""
    first, second = _before_ids(len(id_))
    return b"".join((first, id_, second, id_))


@cache
def _before_ids(length: int) -> tuple[bytes, bytes]:
    """What stands before an id of that length in each of the two."""
    first, second = (wire.attribute(_ATTRIBUTES, key, "0" * length)[:-length] for key in _ID_KEYS)
    return first, second


def _stack(event: Event) -> bytes:
    frame, stack = event.code_frame, event.stack
    file, line, function = frame or (None, 0, None)
    said = [
        ("code.file.path", file),
        ("code.line.number", line or None),
        ("code.function.name", function),
        (PREFIX + "stack", [f"{file}:{line} {function}" for file, line, function in stack] or None),
    ]
    return wire.attributes(_ATTRIBUTES, said)


def _package(package: Package | None) -> list[tuple[str, Any]]:
    if package is None:
        return []
    return [(PREFIX + "package.name", package.name), (PREFIX + "package.version", package.version)]


def _context(fields: dict[str, Any]) -> bytes:
    """The fields of a context. A trace and a span that are ones go where OpenTelemetry looks for them."""
    trace, span = fields.get("trace_id"), fields.get("span_id")
    found = b""
    if isinstance(trace, str) and _TRACE.fullmatch(trace) and int(trace, 16):
        found += wire.field(_TRACE_ID, bytes.fromhex(trace))
        fields.pop("trace_id")
        if isinstance(span, str) and _SPAN.fullmatch(span) and int(span, 16):
            found += wire.field(_SPAN_ID, bytes.fromhex(span))
            fields.pop("span_id")
    rest = [wire.attribute(_ATTRIBUTES, _CONTEXT + key, said) for key, said in fields.items()]
    return found + b"".join(rest)


def _notes(bits: int) -> list[tuple[str, Any]]:
    return [(PREFIX + "notes", list(note_names(bits)) or None)]
