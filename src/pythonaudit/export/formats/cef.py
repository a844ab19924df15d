r"""Events in ArcSight's Common Event Format: one line `CEF:0|…|key=value key=value`.

In the header `\` and `|` are escaped, in values `\`, `=` and line ends. What else does not print is shown as `\x1b`
and the like, its backslash escaped as every other. Which key has what is in docs/guide/formats.md.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pythonaudit import __version__
from pythonaudit.export.formats.safe import json_text, neutralise
from pythonaudit.export.formats.seen import MODULE, command_line, full_path, split_host, typed

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event

START = b"CEF:0|pythonaudit|"
IS_JSON = False

#: Low: what is recorded is no finding.
_SEVERITY = 3
_LINE_ENDS = str.maketrans({"\n": "\\n", "\r": "\\r"})


def build_line(event: Event) -> bytes:
    """An event, with its line end."""
    signature = event.event if event.info else event.template or event.event
    header = (MODULE, MODULE, __version__, signature, event.event, str(_SEVERITY))
    pairs = (f"{key}={_value(text)}" for key, text in _extension(event).items() if text)
    line = "CEF:0|" + "".join(f"{_header(part)}|" for part in header) + " ".join(pairs)
    return line.encode("utf-8", "backslashreplace") + b"\n"


def _extension(event: Event) -> dict[str, str]:
    process, frame, package, said = event.process, event.code_frame, event.package, typed(event)
    ip, name = split_host(said.address)
    is_lookup = event.category == "dns"
    path = full_path(said.path, process.cwd) if said.path is not None else ""
    labelled = {
        "cs1": ("id", event.id),
        "cs2": ("command", said.command or said.module or ""),
        "cs3": ("package", " ".join(filter(None, (package.name, package.version))) if package else ""),
        "cs4": ("code", f"{frame[0]}:{frame[1]} {frame[2]}" if frame else ""),
        "cs5": ("fields", json_text(event.fields) if event.fields else ""),
        "cs6": ("context", json_text(event.context) if event.context else ""),
        "c6a3": ("Destination IPv6 Address", ip if ip and ":" in ip and not is_lookup else ""),
        "flexString1": ("run", process.run or ""),
        "flexString2": ("notes", " ".join(event.notes)),
    }
    found = {
        "rt": str(event.time_ns // 1_000_000),
        "cat": event.category,
        "act": event.event if event.info else "",
        "msg": event.event,
        "dvchost": process.host or "",
        "suid": str(process.uid),
        "suser": process.user or "",
        "spid": str(process.pid),
        "sproc": command_line(process)[1],
        "dhost": "" if is_lookup else name or "",
        "dst": "" if is_lookup or not ip or ":" in ip else ip,
        "dpt": "" if said.port is None else str(said.port),
        "destinationDnsDomain": name or "" if is_lookup else "",
        "fname": os.path.basename(path),
        "filePath": path,
        "request": said.url or "",
    }
    for key, (label, text) in labelled.items():
        if text:
            found |= {f"{key}Label": label, key: text}
    return found


def _header(text: str) -> str:
    return neutralise(text).replace("\\", "\\\\").replace("|", "\\|")


def _value(text: str) -> str:
    if not text.isprintable():
        text = "".join(char if char in "\r\n" else neutralise(char) for char in text)
    return text.replace("\\", "\\\\").replace("=", "\\=").translate(_LINE_ENDS)
