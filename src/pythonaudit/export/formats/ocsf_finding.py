"""An alert as OCSF has it: a Detection Finding (class 2004).

Alerts are events of the trail that the agent, or a command of ours, has raised (docs/guide/detect.md). A program that
raises one of this name itself is none of these, and stays an event.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from pythonaudit.export.formats.seen import filled

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event

CLASS = 2004
ALERT = "pythonaudit.alert"
CREATE = 1
_RULE = 1  # of an analytic: type
_SEVERITIES = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
_WAYS = frozenset({"agent", "command"})


def is_alert(event: Event) -> bool:
    """Whether an event is an alert."""
    return event.event == ALERT and event.process.way in _WAYS and isinstance(event.fields.get("alert"), str)


def build_finding(event: Event) -> dict[str, Any]:
    """What the class has besides what all have."""
    said = event.fields
    package = said.get("package")
    return {
        "severity_id": _SEVERITIES.get(str(said.get("level")), 0),
        "message": str(said.get("title", event.event)),
        "is_alert": True,
        "count": said["count"] if isinstance(said.get("count"), int) else None,
        "finding_info": filled(
            uid=said["alert"],
            title=said.get("title"),
            analytic=filled(type_id=_RULE, uid=said.get("rule"), name=said.get("title")),
            attacks=[_attack(one) for one in said.get("techniques", ()) if isinstance(one, str)],
            first_seen_time=_milliseconds(said.get("first")),
            last_seen_time=_milliseconds(said.get("last")),
            related_events_count=len(said.get("events", ())) or None,
        ),
        "evidences": [{"data": filled(events=said.get("events"), package=package, process=said.get("process"))}],
    }


def _attack(technique: str) -> dict[str, Any]:
    """A technique of ATT&CK, or a part of one."""
    whole, _, part = technique.partition(".")
    found: dict[str, Any] = {"technique": {"uid": whole}}
    return found | {"sub_technique": {"uid": technique}} if part else found


def _milliseconds(text: Any) -> int | None:
    try:
        return int(datetime.fromisoformat(str(text)[:23] + "+00:00").timestamp() * 1000)
    except ValueError:
        return None
