"""Which class of OCSF an event is, and what that class has besides what all have.

The catalog says which class and activity; here is, for each class, what it needs. What cannot be said honestly is
not said: a class whose required attributes an event does not have is not used for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pythonaudit.export.formats.ocsf_finding import CLASS as FINDING
from pythonaudit.export.formats.ocsf_finding import CREATE, build_finding, is_alert
from pythonaudit.export.formats.seen import filled, full_path, split_host, split_url

if TYPE_CHECKING:
    from pythonaudit.archive.typed import Typed
    from pythonaudit.journal.decode import Event

BASE = 0

_OTHER = 99
_PYTHON = 3
_UNKNOWN = 0
_LOADED, _BY_NAME = 1, 2
_METHODS = ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
#: Of Process Activity: what is done to another process than the one that does it.
_TERMINATE, _OPEN, _INJECT = 2, 3, 4

Attributes = dict[str, Any] | None
Process = dict[str, Any]


def find_class(event: Event, said: Typed, process: Process) -> tuple[int, int, dict[str, Any]]:
    """The class and the activity of an event, and the attributes that are the class's own.

    Args:
        event: which.
        said: its typed columns.
        process: what did it, as OCSF has it.
    """
    if is_alert(event):
        return FINDING, CREATE, build_finding(event)
    info = event.info
    if info is not None and info.ocsf_class in _CLASSES:
        special = _CLASSES[info.ocsf_class](event, said, process)
        if special is not None:
            return info.ocsf_class, info.ocsf_activity, special
    return BASE, _OTHER, {}


def _file_of(path: str, event: Event) -> dict[str, Any]:
    """A file; what kind it is nobody has looked."""
    whole = full_path(path, event.process.cwd)
    return {"name": os.path.basename(whole) or whole, "path": whole, "type_id": _UNKNOWN}


def _endpoint(said: Typed) -> dict[str, Any] | None:
    if not said.address:
        return None
    ip, name = split_host(said.address)
    return filled(ip=ip, hostname=name, name=None if ip or name else said.address, port=said.port)


def _file_activity(event: Event, said: Typed, process: Process) -> Attributes:
    if said.path is None:
        return None  # a descriptor
    found = {"file": _file_of(said.path, event)}
    if said.target is not None:
        found["file_result"] = _file_of(said.target, event)
    return found


def _memory(event: Event, said: Typed, process: Process) -> Attributes:
    return {"process": process}


def _module(event: Event, said: Typed, process: Process) -> Attributes:
    if said.path is not None:
        return {"module": {"load_type_id": _LOADED, "file": _file_of(said.path, event)}}
    name = said.module or said.command
    if not name:
        return None
    if event.category == "native":
        return {"module": {"function_name": name, "load_type_id": _UNKNOWN}}
    return {"module": {"load_type_id": _UNKNOWN, "type": "Python", "function_name": name}}


def _process_activity(event: Event, said: Typed, process: Process) -> Attributes:
    """What is launched has no pid yet: OCSF asks for one, so the process is known by the attempt."""
    fields, info = event.fields, event.info
    activity = info.ocsf_activity if info else _OTHER
    if activity in (_TERMINATE, _OPEN, _INJECT):
        pid = fields.get("pid", fields.get("pgid", fields.get("process_id")))
        return {"process": {"pid": pid}} if type(pid) is int and pid >= 0 else {"process": process}
    if event.category == "process" and (said.command or said.path):
        launched = filled(cmd_line=said.command, working_directory=_text(fields.get("cwd")))
        if said.path:
            launched |= {"file": _file_of(said.path, event)}
        return {"process": {"uid": event.id, **launched, "parent_process": process}}
    return {"process": process}


def _script(event: Event, said: Typed, process: Process) -> Attributes:
    """The text, if it was written; else that there is one, of which nothing is here."""
    text, length = _source(event)
    content: dict[str, Any] = {"value": text or ""}
    if text is None:
        content |= {"is_truncated": True, **filled(untruncated_size=length)}
    script: dict[str, Any] = {"type_id": _PYTHON, "script_content": content}
    if said.path:
        script |= {"name": said.path}
    if said.path and not said.path.startswith("<"):
        script |= {"file": _file_of(said.path, event)}
    return {"script": script}


def _source(event: Event) -> tuple[str | None, int | None]:
    for value in event.values:
        if isinstance(value, dict) and "$length" in value:
            text, length = value.get("$text"), value["$length"]
            return text if isinstance(text, str) else None, length if type(length) is int else None
    command = event.fields.get("command")
    return (command if isinstance(command, str) else None), None


def _network(event: Event, said: Typed, process: Process) -> Attributes:
    there = _endpoint(said)
    if there is None:
        return None
    is_ours = event.event == "socket.bind"
    return {"src_endpoint" if is_ours else "dst_endpoint": there}


def _http(event: Event, said: Typed, process: Process) -> Attributes:
    if not said.url:
        return None
    url = split_url(said.url)
    parts = filled(
        scheme=url.get("scheme"),
        hostname=url.get("domain"),
        port=url.get("port"),
        path=url.get("path"),
        query_string=url.get("query"),
    )
    method = event.fields.get("method")
    known = {"http_method": method} if method in _METHODS else {}
    return {"http_request": {"url": {"url_string": said.url, **parts}, **known}}


def _dns(event: Event, said: Typed, process: Process) -> Attributes:
    """The question; who answers it is not known, so it is asked by this host."""
    host = event.process.host or event.process.boot
    if not said.address or not host:
        return None
    return {"query": {"hostname": said.address}, "src_endpoint": {"hostname": host}}


def _ftp(event: Event, said: Typed, process: Process) -> Attributes:
    there = _endpoint(said)
    return {"dst_endpoint": there} if there else None


def _log(event: Event, said: Typed, process: Process) -> Attributes:
    return {"log_name": "syslog"}


def _nothing(event: Event, said: Typed, process: Process) -> Attributes:
    return {}


def _lifecycle(event: Event, said: Typed, process: Process) -> Attributes:
    return {"app": {"name": "pip", "vendor_name": "Python"}}


def _datastore(event: Event, said: Typed, process: Process) -> Attributes:
    host = event.process.host or event.process.boot
    if not said.path or not host:
        return None
    database = {"name": os.path.basename(said.path) or said.path, "type_id": 1, "type": "Relational"}
    return {"database": database, "src_endpoint": {"hostname": host}}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


#: Not here: kernel objects and the registry of Windows (the recorder is on Linux), mail (there is no message yet),
#: and the one event of an API that is on Windows.
_CLASSES: Mapping[int, Callable[[Event, Typed, Process], Attributes]] = {
    1001: _file_activity,
    1004: _memory,
    1005: _module,
    1007: _process_activity,
    1008: _log,
    1009: _script,
    4001: _network,
    4002: _http,
    4003: _dns,
    4008: _ftp,
    5001: _nothing,
    5019: _nothing,
    6002: _lifecycle,
    6005: _datastore,
}
