"""Alerts as events of the trail itself: so they are sealed, archived, asked for and shipped like everything else.

    sys.audit(ALERT, build_fields(alert_id, alert, count, last_ns))     # by whoever detects
    sys.audit(CLOSED, {"alert": alert_id, "reason": "…"})               # by whoever has looked into it
    for alert in fold(events): ...                                      # of events of these names, oldest first

An alert is told again when its count has grown; the last that was told of it counts. Any program can raise an event of
these names: `fold` takes those that the owner of the directory, or root, has recorded of a command of ours
(docs/threat-model.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from pythonaudit.detect.engine import Alert
from pythonaudit.detect.rules import LEVELS
from pythonaudit.journal import layout
from pythonaudit.journal.decode import Event, format_time

ALERT = "pythonaudit.alert"
CLOSED = "pythonaudit.alert.closed"
NAMES = (ALERT, CLOSED)
_ID_LENGTH = 12
_WAYS = frozenset({layout.WAYS[layout.WAY_COMMAND], layout.WAYS[layout.WAY_AGENT]})

Group = tuple[str, str, str, str]
"""What belongs together: rule, host, process at the root of the tree, package."""


@dataclass(frozen=True, slots=True)
class Told:
    """An alert, as the trail has it.

    Attributes:
        id: 12 hexadecimal digits.
        rule, title, level, techniques: of its rule, as it was then.
        count: of matches.
        first, last: of them, RFC 3339.
        host, process: where, and at the root of which process tree.
        package: name and perhaps version; empty: unknown.
        events: ids of some of them.
        closed: why it was closed; None: it is open.
        closed_at, closed_by: when, RFC 3339, and the user.
    """

    id: str
    rule: str
    title: str
    level: str
    techniques: tuple[str, ...]
    count: int
    first: str
    last: str
    host: str
    process: str
    package: dict[str, str] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    closed: str | None = None
    closed_at: str | None = None
    closed_by: str | None = None

    @property
    def group(self) -> Group:
        """What further matches must have in common with it."""
        return self.rule, self.host, self.process, self.package.get("name", "")

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON: that of an alert, with its id, without what has nothing to say."""
        said = {
            "time": self.first,
            "alert": self.id,
            "rule": self.rule,
            "title": self.title,
            "level": self.level,
            "techniques": list(self.techniques),
            "count": self.count,
            "first": self.first,
            "last": self.last,
            "host": self.host or None,
            "process": self.process,
            "package": self.package or None,
            "events": list(self.events),
            "closed": self.closed,
            "closed_at": self.closed_at,
            "closed_by": self.closed_by,
        }
        return {name: value for name, value in said.items() if value is not None}


def tell(alert: Alert) -> Told:
    """What is told of an alert that the engine has given."""
    name, version = alert.package
    package = {key: text for key, text in (("name", name), ("version", version)) if text}
    head = alert.rule.head
    first = format_time(alert.first_ns).decode()
    told = Told(
        id="",
        rule=head.id,
        title=head.title,
        level=head.level,
        techniques=tuple(head.techniques),
        count=alert.count,
        first=first,
        last=format_time(alert.last_ns).decode(),
        host=alert.host or "",
        process=alert.tree,
        package=package,
        events=tuple(alert.ids),
    )
    digest = sha256("\0".join([*told.group, first]).encode("utf-8", "surrogateescape")).hexdigest()
    return replace(told, id=digest[:_ID_LENGTH])


def build_fields(told: Told) -> dict[str, Any]:
    """What the event says."""
    said = told.to_json()
    return {name: said[name] for name in said if name not in ("time", "closed", "closed_at", "closed_by")}


def fold(events: Iterable[Event], owners: Collection[int]) -> list[Told]:
    """Alerts, in the order in which they were first told; each as it was told last.

    Args:
        events: of the names NAMES, oldest first. Others are left out.
        owners: users whose word counts.
    """
    found: dict[str, Told] = {}
    for event in events:
        if not is_ours(event, owners):
            continue
        process, said = event.process, event.fields
        if event.event == ALERT:
            told = _parse(said)
            if told is None:
                continue
            before = found.get(told.id)
            if before is not None:
                closing = before.closed, before.closed_at, before.closed_by
                told = replace(told, closed=closing[0], closed_at=closing[1], closed_by=closing[2])
            found[told.id] = told
        elif event.event == CLOSED:
            one = found.get(str(said.get("alert")))
            if one is not None:
                found[one.id] = replace(
                    one,
                    closed=str(said.get("reason", "")),
                    closed_at=format_time(event.time_ns).decode(),
                    closed_by=process.user or str(process.uid),
                )
    return list(found.values())


def is_ours(event: Event, owners: Collection[int]) -> bool:
    """Whether a command of ours, given by one of these users, has raised it."""
    return event.process.uid in owners and event.process.way in _WAYS


def _parse(said: dict[str, Any]) -> Told | None:
    """What an event says; None: that is none of ours."""
    try:
        package = said.get("package") or {}
        told = Told(
            id=_text(said["alert"]),
            rule=_text(said["rule"]),
            title=_text(said["title"]),
            level=_text(said["level"]),
            techniques=tuple(map(_text, said.get("techniques", ()))),
            count=int(said["count"]),
            first=_text(said["first"]),
            last=_text(said["last"]),
            host=_text(said.get("host", "")),
            process=_text(said["process"]),
            package={key: _text(package[key]) for key in ("name", "version") if key in package},
            events=tuple(map(_text, said.get("events", ()))),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return told if told.level in LEVELS else None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
