"""Events in the Elastic Common Schema (ECS 9.4): one JSON object a line.

Which field comes from what is in docs/guide/formats.md. What ECS has no field for is below `pythonaudit`, a name
that ECS will not take. An audit event is an attempt, so `event.outcome` is always `unknown`.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pythonaudit.export.formats.safe import json_line, json_text
from pythonaudit.export.formats.seen import MODULE, command_line, filled, full_path, split_host, split_url, typed
from pythonaudit.journal.decode import format_time

if TYPE_CHECKING:
    from pythonaudit.archive.typed import Typed
    from pythonaudit.journal.decode import Event
    from pythonaudit.journal.process import Process

VERSION = "9.4.0"
START = b'{"@timestamp":"'
IS_JSON = True

_LONG = 1 << 63  # numbers from there on are forged


def build_line(event: Event) -> bytes:
    """An event, with its line end."""
    return json_line(build(event))


def build(event: Event) -> dict[str, Any]:
    """An event as ECS has it."""
    info, process, frame = event.info, event.process, event.code_frame
    said, context, package = typed(event), event.context, event.package
    document = {
        "@timestamp": format_time(event.time_ns).decode(),
        "ecs": {"version": VERSION},
        "message": event.event,
        "event": filled(
            kind="event",
            category=[info.ecs_category] if info else None,
            type=[info.ecs_type] if info else ["info"],
            outcome="unknown",
            action=event.event,
            id=event.id,
            sequence=event.number if event.number < _LONG else None,
            module=MODULE,
            dataset=f"{MODULE}.events",
            provider=event.source,
        ),
        **_who(process),
        "process": {**_process(process), "thread": filled(id=event.tid, name=event.thread.name)},
        "package": filled(name=package.name, version=package.version) if package else {},
        "log": {"origin": _origin(*frame)} if frame else {},
        "trace": filled(id=_text(context.get("trace_id"))),
        "span": filled(id=_text(context.get("span_id"))),
        **_objects(event, said),
        MODULE: filled(
            category=event.category,
            template=event.template,
            args=json_text(event.values),
            fields=event.fields,
            context=context,
            command=said.command,
            module=said.module,
            target=said.target,
            stack=[filled(file=file, line=line, function=function) for file, line, function in event.stack],
            interpreter=event.interpreter,
            run=process.run,
            python=process.python,
            notes=list(event.notes),
        ),
    }
    return filled(**document)


@lru_cache(maxsize=1024)
def _who(process: Process) -> dict[str, Any]:
    return {
        "host": filled(name=process.host, hostname=process.host, boot=filled(id=process.boot)),
        "user": filled(id=str(process.uid), name=process.user),
    }


@lru_cache(maxsize=1024)
def _process(process: Process) -> dict[str, Any]:
    words, line = command_line(process)
    return filled(
        entity_id=process.id,
        pid=process.pid,
        name=os.path.basename(process.exe or ""),
        executable=process.exe,
        args=list(words),
        args_count=len(words),
        command_line=line,
        working_directory=process.cwd,
        parent=filled(pid=process.ppid, entity_id=process.parent),
    )


def _objects(event: Event, said: Typed) -> dict[str, Any]:
    """What it was done to."""
    found: dict[str, Any] = {}
    if said.path is not None:
        path = full_path(said.path, event.process.cwd)
        found["dll" if event.category == "native" else "file"] = filled(path=path, name=os.path.basename(path))
    ip, name = split_host(said.address)
    if event.category == "dns" and said.address:
        found["dns"] = filled(type="query", question=filled(name=name or ip))
    elif said.address:
        found["destination"] = filled(address=said.address, ip=ip, domain=name, port=said.port)
    if said.url is not None:
        found["url"] = filled(original=said.url, **split_url(said.url))
    return found


def _origin(file: str, line: int, function: str) -> dict[str, Any]:
    return filled(file=filled(name=file, line=line or None), function=function)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
