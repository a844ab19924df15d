"""Alerts as JSON: the form in which they are printed, stored and sent.

    {"time":"…","rule":"<id>","title":"…","level":"high","techniques":["T1546.018"],"count":3,"first":"…","last":"…",
     "host":"web-1","process":"<root of the process tree>","package":{"name":"…","version":"…"},"events":[…]}

`time` is when the first match was. Events are as `log --format jsonl` prints them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pythonaudit.detect.engine import Alert
from pythonaudit.journal.decode import format_time

_BEFORE_STACK = (
    *("event", "category", "source", "args", "fields", "template", "id", "host", "boot"),
    *(
        "process",
        "pid",
        "ppid",
        "tid",
        "thread",
        "interpreter",
        "run",
        "python",
        "exe",
        "argv",
        "cwd",
        "uid",
        "user",
    ),
    "stack",
)


def to_json(alert: Alert) -> dict[str, Any]:
    """An alert as a JSON object; what has nothing to say is left out."""
    head = alert.rule.head
    first, last = moment(alert.first_ns), moment(alert.last_ns)
    said = {
        "time": first,
        "rule": head.id,
        "title": head.title,
        "level": head.level,
        "techniques": head.techniques,
        "count": alert.count,
        "first": first,
        "last": last,
        "host": alert.host,
        "process": alert.tree,
        "package": _package(*alert.package),
        "events": [event_object(row) for row in alert.events],
    }
    return {name: value for name, value in said.items() if value is not None}


def event_object(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the view `events` as the JSON object of an event."""
    found = {"time": moment(row["time_ns"]), **{name: row.get(name) for name in _BEFORE_STACK}}
    found |= {
        "package": _package(row.get("package"), row.get("version")),
        "context": row.get("context"),
        "notes": row.get("notes"),
    }
    return {name: value for name, value in found.items() if value is not None}


def moment(time_ns: int) -> str:
    """A time as RFC 3339."""
    return format_time(time_ns).decode()


def _package(name: str | None, version: str | None) -> dict[str, str] | None:
    if name is None:
        return None
    return {"name": name} if version is None else {"name": name, "version": version}
