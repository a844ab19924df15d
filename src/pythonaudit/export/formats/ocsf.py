"""Events in the Open Cybersecurity Schema Framework (OCSF 1.8): one JSON object a line.

The class and activity of an event are those of the catalog. Where the class asks for what the event does not have,
and for all events of applications, it is a Base Event. Which attribute comes from what is in docs/guide/formats.md.

`raw_data` has the event as it is, so nothing is lost, and `raw_data_hash` its SHA-256: the schema has no profile for
the integrity of records before 1.9.
"""

from __future__ import annotations

import os
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pythonaudit import __version__
from pythonaudit.export.formats.ocsf_classes import find_class
from pythonaudit.export.formats.safe import json_line
from pythonaudit.export.formats.seen import MODULE, command_line, filled, typed
from pythonaudit.journal.decode import format_time

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event
    from pythonaudit.journal.process import Process

VERSION = "1.8.0"
START = b'{"activity_id":'
IS_JSON = True

_INFORMATIONAL, _UNKNOWN, _OTHER, _SHA_256 = 1, 0, 99, 3
_CLASSES_A_CATEGORY = 1000


def build_line(event: Event) -> bytes:
    """An event, with its line end."""
    return json_line(build(event))


def build(event: Event) -> dict[str, Any]:
    """An event as OCSF has it."""
    said = typed(event)
    process = {**_process(event.process), "tid": event.tid}
    class_uid, activity, special = find_class(event, said, process)
    raw = event.to_json()
    package, frame = event.package, event.code_frame
    document = {
        "activity_id": activity,
        "category_uid": class_uid // _CLASSES_A_CATEGORY,
        "class_uid": class_uid,
        "type_uid": class_uid * 100 + activity,
        "severity_id": _INFORMATIONAL,
        "status_id": _UNKNOWN,
        "time": event.time_ns // 1_000_000,
        "message": event.event,
        "metadata": {
            "version": VERSION,
            "profiles": ["host"],
            "uid": event.id,
            "product": {"name": MODULE, "vendor_name": MODULE, "version": __version__},
            "log_name": MODULE,
            "event_code": event.event if event.info else event.template or event.event,
            "original_time": format_time(event.time_ns).decode(),
        },
        "actor": filled(
            process=process,
            user=_user(event.process),
            app_name=package.name if package else None,
        ),
        "device": _device(event.process),
        **special,
        "raw_data": raw.decode(),
        "raw_data_hash": {"algorithm_id": _SHA_256, "algorithm": "SHA-256", "value": sha256(raw).hexdigest()},
        "unmapped": filled(
            category=event.category,
            source=event.source,
            fields=event.fields,
            context=event.context,
            notes=list(event.notes),
            package_version=package.version if package else None,
            code=f"{frame[0]}:{frame[1]} {frame[2]}" if frame else None,
            run=event.process.run,
            python=event.process.python,
        ),
    }
    if activity == _OTHER:
        document["activity_name"] = event.event
    return {name: value for name, value in document.items() if value not in (None, "", {})}


@lru_cache(maxsize=1024)
def _process(process: Process) -> dict[str, Any]:
    exe = process.exe or ""
    return filled(
        pid=process.pid,
        uid=process.id,
        name=os.path.basename(exe),
        path=exe,
        cmd_line=command_line(process)[1],
        working_directory=process.cwd,
        user=_user(process),
        parent_process=filled(pid=process.ppid, uid=process.parent),
    )


def _user(process: Process) -> dict[str, Any]:
    return filled(uid=str(process.uid), name=process.user)


def _device(process: Process) -> dict[str, Any]:
    """The host; its boot identifies it where it has no name."""
    host, boot = process.host, process.boot
    return {"type_id": _UNKNOWN, **filled(hostname=host, boot_uid=boot, name=host or boot or "unknown")}
