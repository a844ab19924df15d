"""What becomes of matches: alerts that belong together, exceptions, levels, evidence, what is kept."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pythonaudit.detect.alerts import to_json
from pythonaudit.detect.engine import Alert, Engine
from pythonaudit.detect.excepted import load_exceptions
from pythonaudit.detect.library import Library, resolve
from pythonaudit.errors import RuleError
from pythonaudit.query.samples import open_samples
from tests.sigma_corpus import compile_all, rule_text

OPEN = rule_text(
    {"x": {"event": "open"}, "condition": "x"}, id="11111111-1111-4111-8111-111111111111", level="high"
)
LOGIN = rule_text({"x": {"event": "login"}, "condition": "x"}, title="Login", name="login", level="low")
ADMIN = rule_text({"x": {"event": "admin"}, "condition": "x"}, title="Admin", name="admin", level="low")
DAY = datetime.date(2026, 11, 29)


def correlation(name: str, **more: Any) -> bytes:
    head = {"title": name.title(), "name": name, "level": "high"}
    return json.dumps(head | {"correlation": {"timespan": "10s", **more}}).encode()


def library_of(*texts: bytes) -> Library:
    library = resolve(compile_all(texts), [])
    assert library.refused == []
    return library


def event(place: int, name: str, second: int = 0, **more: Any) -> dict[str, Any]:
    process = more.pop("process", "a" * 32)
    time = f"2026-11-22T14:00:{second:02}.{place:09}Z"
    return {"event": name, "id": f"{process}/0/{place}", "process": process, "time": time, "host": "web-1", **more}


def push(
    engine: Engine, events: Sequence[dict[str, Any]], where: str = "true", now_ns: int | None = None
) -> list[Alert]:
    with open_samples(events) as connection:
        return engine.push(connection, f"SELECT * FROM events WHERE {where}", now_ns)


def test_repeats_are_one_alert() -> None:
    events = [event(place, "open", package={"name": "requests", "version": "2"}) for place in range(10_000)]
    (alert,) = push(Engine(library_of(OPEN)), events)
    said = to_json(alert)
    assert (said["count"], said["first"], said["last"]) == (10_000, events[0]["time"], events[-1]["time"])
    assert said["package"] == {"name": "requests", "version": "2"}
    assert [one["id"] for one in said["events"]] == [one["id"] for one in events[:3]]
    keys = "time rule title level techniques count first last host process package events"
    assert list(said) == keys.split()


def test_what_does_not_belong_together_is_several() -> None:
    events = [
        event(0, "open"),
        event(1, "open", package={"name": "requests"}),
        event(2, "open", host="web-2"),
        event(3, "open", process="b" * 32),
        event(4, "open"),
    ]
    alerts = push(Engine(library_of(OPEN)), events)
    assert [alert.count for alert in alerts] == [2, 1, 1, 1]


def test_events_of_an_alert_are_events() -> None:
    given = event(
        7, "open", args=["/etc/passwd", "r", 0], user="www", stack=[{"file": "/a.py", "line": 1, "function": "f"}]
    )
    (alert,) = push(Engine(library_of(OPEN)), [given])
    said = to_json(alert)["events"][0]
    assert said.pop("fields") == {"path": "/etc/passwd", "mode": "r", "flags": 0}
    assert said == given


def test_rules_that_a_correlation_refers_to_are_silent_unless_it_generates() -> None:
    wanted = {"type": "event_count", "rules": ["login"], "condition": {"gte": 2}}
    events = [event(place, "login", place) for place in range(3)]
    silent = push(Engine(library_of(LOGIN, correlation("many", **wanted))), events)
    loud = push(Engine(library_of(LOGIN, correlation("many", generate=True, **wanted))), events)
    assert [(alert.rule.head.title, alert.count) for alert in silent] == [("Many", 2)]
    assert [(alert.rule.head.title, alert.count) for alert in loud] == [("Login", 3), ("Many", 2)]
    assert [one["number"] for one in silent[0].events] == [0, 1]


def test_a_level_silences_what_is_below_but_not_what_is_built_on_it() -> None:
    library = library_of(
        OPEN, LOGIN, correlation("many", type="event_count", rules=["login"], condition={"gte": 2})
    )
    events = [event(place, name, place) for place, name in enumerate(("login", "login", "open"))]
    titles = [alert.rule.head.title for alert in push(Engine(library, level="high"), events)]
    assert titles == ["Many", "A rule"]
    assert push(Engine(library, level="critical"), events) == []


def test_correlations_of_correlations_and_aliases() -> None:
    library = library_of(
        LOGIN,
        ADMIN,
        correlation(
            "guessed", type="event_count", rules=["login"], condition={"gte": 3}, **{"group-by": ["fields.user"]}
        ),
        correlation(
            "taken",
            type="temporal_ordered",
            rules=["guessed", "admin"],
            aliases={"who": {"guessed": "fields.user", "admin": "fields.by"}},
            **{"group-by": ["who"]},
        ),
    )
    events = [event(place, "login", place, fields={"user": "eve"}) for place in range(3)]
    events += [event(3, "admin", 5, fields={"by": "bob"}), event(4, "admin", 6, fields={"by": "eve"})]
    (alert,) = push(Engine(library), events)
    assert (alert.rule.head.title, alert.count) == ("Taken", 1)
    assert [one["number"] for one in alert.events] == [2, 4]


def test_one_event_is_not_two_steps_and_ties_are_ordered_within_a_thread() -> None:
    both = rule_text({"x": {"event": ["admin", "login"]}, "condition": "x"}, title="Both", name="both")
    ordered = correlation("ordered", type="temporal_ordered", rules=["login", "both"])
    library = library_of(LOGIN, both, ordered)
    assert push(Engine(library), [event(0, "login")]) == []
    at_once = [
        {**event(place, name), "time": "2026-11-22T14:00:00Z"} for place, name in enumerate(("login", "admin"))
    ]
    assert [alert.count for alert in push(Engine(library), at_once)] == [1]
    backwards = [{**one, "id": f"{'a' * 32}/0/{1 - place}"} for place, one in enumerate(at_once)]
    assert push(Engine(library), backwards) == []


def test_what_comes_piece_by_piece_is_counted_once() -> None:
    library = library_of(
        OPEN, LOGIN, correlation("many", type="event_count", rules=["login"], condition={"gte": 2})
    )
    events = [event(0, "open"), event(1, "login", 1), event(2, "login", 2), event(3, "login", 3)]
    engine = Engine(library)
    found = [push(engine, events, f"number = {place}") for place in range(4)]
    assert [[(a.rule.head.title, a.count) for a in some] for some in found] == [
        [("A rule", 1)],
        [],
        [("Many", 1)],
        [("Many", 1)],
    ]
    assert push(engine, events[1:]) == []


def test_what_no_correlation_can_need_is_forgotten() -> None:
    library = library_of(
        OPEN, LOGIN, correlation("many", type="event_count", rules=["login"], condition={"gte": 2})
    )
    engine, begin = Engine(library), 1_795_356_000_000_000_000
    events = [event(0, "open"), event(1, "login", 1), event(2, "login", 30), event(3, "login", 31)]
    push(engine, events[:2], now_ns=begin + 2_000_000_000)
    kept = engine._store.execute("SELECT event FROM hits").fetchall()
    assert kept == [("login",)]
    push(engine, events[2:3], now_ns=begin + 30_000_000_000)
    assert engine._store.execute("SELECT number FROM hits").fetchall() == [(2,)]
    assert [alert.count for alert in push(engine, events[3:], now_ns=begin + 31_000_000_000)] == [1]


EXCEPTIONS = """
exceptions:
  - rule: 11111111-1111-4111-8111-111111111111
    condition: {user: www, path|startswith: /srv/}
    reason: the application reads its own files
  - rule: MANY
    condition: [{fields.user: robot}, {fields.user: monitor}]
    reason: it is told to
    expires: 2026-11-30
  - rule: login
    condition: {event: login}
    reason: over
    expires: 2026-11-29
"""


def test_exceptions(tmp_path: Path) -> None:
    library = library_of(
        OPEN, LOGIN, correlation("many", type="event_count", rules=["login"], condition={"gte": 2}, generate=True)
    )
    (tmp_path / "exceptions.yml").write_text(EXCEPTIONS)
    exceptions, over = load_exceptions(tmp_path, library, {}, DAY)
    assert [(one.line, one.reason) for one in over] == [(10, "over")]
    engine = Engine(library, exceptions)
    names = ("robot", "eve", "robot", "monitor")
    events = [event(place, "login", place, fields={"user": user}) for place, user in enumerate(names)]
    events += [event(4, "open", args=["/srv/a"], user="www"), event(5, "open", args=["/etc/a"], user="www")]
    alerts = push(engine, events)
    assert [(alert.rule.head.title, alert.count) for alert in alerts] == [("Login", 4), ("A rule", 1)]
    assert alerts[1].events[0]["path"] == "/etc/a"
    assert engine.excepted == [1, 3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exceptions: 5", "exceptions.yml:1: 'exceptions' takes a list"),
        ("exception: []", "exceptions.yml:1: 'exception' is no key of this file"),
        ("exceptions:\n- rule: login\n  reason: x", "exceptions.yml:2: an exception needs 'condition'"),
        ("exceptions:\n- rule: login\n  condition: {event: a}", "exceptions.yml:2: an exception needs 'reason'"),
        (
            "exceptions:\n- rule: nobody\n  condition: {event: a}\n  reason: x",
            "exceptions.yml:2: no rule 'nobody' is there",
        ),
        (
            "exceptions:\n- rule: login\n  reason: x\n  condition:\n    Hashes: a",
            "exceptions.yml:5: 'Hashes' is no field",
        ),
        (
            "exceptions:\n- {rule: login, reason: x, until: 1}",
            "exceptions.yml:2: 'until' is no key of an exception",
        ),
        (
            "exceptions:\n- rule: login\n  condition: {event: a}\n  reason: x\n  expires: soon",
            "exceptions.yml:5: 'expires' takes a day",
        ),
    ],
)
def test_exceptions_that_make_no_sense(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "exceptions.yml").write_text(text)
    with pytest.raises(RuleError) as raised:
        load_exceptions(tmp_path, library_of(LOGIN), {}, DAY)
    assert str(raised.value).startswith(f"{tmp_path}/{said}")
