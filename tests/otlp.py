"""What is in a request of OTLP, read with OpenTelemetry's own messages and put back into the form of `--format jsonl`."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

OURS = "pythonaudit."


def plain_value(value: Any) -> Any:
    """An AnyValue, decoded."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    content = getattr(value, kind)
    if kind == "array_value":
        return [plain_value(item) for item in content.values]
    return plain_pairs(content.values) if kind == "kvlist_value" else content


def plain_pairs(pairs: Any) -> dict[str, Any]:
    """KeyValues, decoded; fails where a key is twice there, which OTLP forbids."""
    found = {pair.key: plain_value(pair.value) for pair in pairs}
    assert len(found) == len(pairs), [pair.key for pair in pairs]
    return found


def below(attributes: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The attributes whose names begin so, without it."""
    return {name.removeprefix(prefix): value for name, value in attributes.items() if name.startswith(prefix)}


def records_of(request: bytes) -> list[tuple[dict[str, Any], Any]]:
    """The attributes of its process, and the record itself, of each record."""
    message = ExportLogsServiceRequest.FromString(request)
    assert message.SerializeToString()  # nothing in it is unknown or out of place
    found = []
    for of_process in message.resource_logs:
        resource = plain_pairs(of_process.resource.attributes)
        for scope in of_process.scope_logs:
            assert scope.scope.name == "pythonaudit"
            found += [(resource, record) for record in scope.log_records]
    return found


def ids_of(request: bytes) -> list[str]:
    """The ids of the events in a request."""
    return [plain_pairs(record.attributes)["log.record.uid"] for _, record in records_of(request)]


def as_jsonl(resource: dict[str, Any], record: Any) -> dict[str, Any]:
    """A record as an object of `--format jsonl`, but for time, which is in nanoseconds, and what is the catalog's."""
    attributes = plain_pairs(record.attributes)
    ours = below(attributes, OURS)
    name = ours.get("event", record.event_name)
    body = record.body.string_value
    assert body.startswith(name)
    context = below(attributes, OURS + "context.")
    if record.trace_id:
        context["trace_id"] = record.trace_id.hex()
    if record.span_id:
        context["span_id"] = record.span_id.hex()
    argv = resource.get("process.command_args")
    found = {
        "time_ns": record.time_unix_nano,
        "event": name,
        "template": record.event_name if "event" in ours else None,
        "category": ours["category"],
        "source": ours["source"],
        "args": json.loads(body[len(name) :]) if body != name else None,
        "fields": below(attributes, OURS + "fields.") or None,
        "id": ours["id"],
        "host": resource.get("host.name"),
        "boot": resource.get(OURS + "boot"),
        "process": UUID(resource["service.instance.id"]).hex,
        "pid": resource["process.pid"],
        "ppid": resource["process.parent_pid"],
        "tid": attributes["thread.id"],
        "thread": attributes.get("thread.name"),
        "interpreter": ours.get("interpreter", 0),
        "run": resource.get(OURS + "run"),
        "python": resource.get("process.runtime.version"),
        "exe": resource.get("process.executable.path"),
        "argv": argv and argv[1:],
        "cwd": resource.get("process.working_directory"),
        "uid": int(resource["user.id"]),
        "user": resource.get("user.name"),
        "stack": ours.get("stack"),
        "package": below(ours, "package.") or None,
        "context": context or None,
        "notes": ours.get("notes"),
    }
    return {name: value for name, value in found.items() if value is not None}
