"""Correlations say of each match what the definition says, one window at a time; all at once or piece by piece."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from pythonaudit.detect.engine import Engine
from pythonaudit.detect.library import Library, resolve
from pythonaudit.query.samples import open_samples
from tests.recorded import SOAK
from tests.sigma_corpus import compile_all, rule_text

SECOND = 1_000_000_000
SPAN = 3
NAMES = ("a", "b", "c")
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "gte": lambda x, y: x >= y, "gt": lambda x, y: x > y, "lte": lambda x, y: x <= y,
    "lt": lambda x, y: x < y, "eq": lambda x, y: x == y, "neq": lambda x, y: x != y,
}  # fmt: skip
BASE = [
    rule_text({"x": {"event": f"event {name}"}, "condition": "x"}, name=f"rule_{name}", title=f"Rule {name}")
    for name in NAMES
] + [rule_text({"x": {"fields.both": True}, "condition": "x"}, name="rule_both", title="Rule both")]

#: name, second, user, value, both
Fact = tuple[str, int, str | None, Any, bool]
facts: st.SearchStrategy[Fact] = st.tuples(
    st.sampled_from(NAMES), st.integers(0, 12), st.sampled_from(("u", "v", None)), st.sampled_from((1, 2, "2", "x", None)),
    st.booleans(),
)  # fmt: skip
references = st.lists(
    st.sampled_from(("rule_a", "rule_b", "rule_c", "rule_both")), min_size=1, max_size=3, unique=True
)


def build_events(facts: Sequence[Fact]) -> list[dict[str, Any]]:
    """One thread: at one moment, the order is that of the numbers."""
    return [
        {
            "event": f"event {name}",
            "id": f"{1:032x}/0/{place}",
            "process": f"{1:032x}",
            "time": f"2026-11-22T14:00:{second:02}Z",
            "fields": {
                key: value
                for key, value in (("user", user), ("value", value), ("both", both))
                if value is not None
            },
        }
        for place, (name, second, user, value, both) in enumerate(sorted(facts, key=lambda fact: fact[1]))
    ]


def holds(event: dict[str, Any], reference: str) -> bool:
    name = reference.removeprefix("rule_")
    return event["fields"].get("both") is True if name == "both" else event["event"] == f"event {name}"


def second_of(event: dict[str, Any]) -> int:
    return int(event["time"][17:19])


def expected(correlation: dict[str, Any], events: list[dict[str, Any]]) -> set[int]:
    """The numbers of the events that complete the correlation."""
    found = set()
    rules, kind, grouped = correlation["rules"], correlation["type"], "group-by" in correlation
    for place, event in enumerate(events):
        if not any(holds(event, rule) for rule in rules) or (grouped and "user" not in event["fields"]):
            continue
        window = [
            (other, rule)
            for other, one in enumerate(events)
            for rule in rules
            if holds(one, rule)
            and (not grouped or one["fields"].get("user") == event["fields"]["user"])
            and second_of(event) - SPAN <= second_of(one) <= second_of(event)
        ]
        if kind == "temporal_ordered":
            if is_ordered(window, rules, place):
                found.add(place)
            continue
        if kind == "temporal" and isinstance(correlation.get("condition"), str):
            there = {rule: any(other == rule for _, other in window) for rule in rules}
            if eval(correlation["condition"], {"__builtins__": {}}, there):
                found.add(place)
            continue
        measured = measure(correlation, events, window)
        condition = correlation.get("condition", {"gte": len(rules)})
        operator = next(name for name in OPERATORS if name in condition)
        if measured is not None and OPERATORS[operator](measured, condition[operator]):
            found.add(place)
    return found


def is_ordered(window: list[tuple[int, str]], rules: list[str], last: int) -> bool:
    """Whether some of the events, each after the one before, match the rules in order, and the last is this one."""
    of_rule = [[place for place, rule in window if rule == wanted] for wanted in rules]
    return any(
        way[-1] == last and all(one < other for one, other in itertools.pairwise(way))
        for way in itertools.product(*of_rule)
    )


def measure(
    correlation: dict[str, Any], events: list[dict[str, Any]], window: list[tuple[int, str]]
) -> float | None:
    places = sorted({place for place, _ in window})
    kind = correlation["type"]
    if kind == "temporal":
        return len({rule for _, rule in window})
    if kind == "event_count":
        return len(places)
    values = [events[place]["fields"].get("value") for place in places]
    if kind == "value_count":
        return len({str(value) for value in values if value is not None})
    numbers = [float(value) for value in values if value is not None and str(value) != "x"]
    if not numbers:
        return None
    if kind == "value_percentile":
        ordered, at = sorted(numbers), correlation["condition"]["percentile"] / 100 * (len(numbers) - 1)
        low = int(at)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (at - low)
    return {"value_sum": sum, "value_avg": statistics.mean, "value_median": statistics.median}[kind](numbers)


def conditions(kind: str) -> st.SearchStrategy[Any]:
    simple = st.tuples(st.sampled_from(sorted(OPERATORS)), st.integers(1, 4)).map(lambda one: {one[0]: one[1]})
    if kind.startswith("value"):
        more = {"field": "fields.value"} | ({"percentile": 50} if kind == "value_percentile" else {})
        return simple.map(lambda one: one | more)
    return simple


@st.composite
def correlations(draw: st.DrawFn) -> dict[str, Any]:
    kinds = (
        "event_count",
        "value_count",
        "temporal",
        "temporal_ordered",
        "temporal_ordered",
        "value_sum",
        "value_avg",
    )
    kind = draw(st.sampled_from((*kinds, "value_median", "value_percentile")))
    rules = draw(references)
    found: dict[str, Any] = {"type": kind, "rules": rules, "timespan": f"{SPAN}s"}
    if draw(st.booleans()):
        found["group-by"] = ["fields.user"]
    if kind == "temporal" and draw(st.booleans()):
        text = draw(st.sampled_from((" and ", " or ", " and not "))).join(rules)
        found["condition"] = f"not ({text})" if draw(st.booleans()) else text
    elif kind not in ("temporal_ordered", "temporal") or (kind == "temporal" and draw(st.booleans())):
        found["condition"] = draw(conditions(kind))
    return found


def library_of(correlation: dict[str, Any]) -> Library:
    text = json.dumps({"title": "A correlation", "correlation": correlation}).encode()
    library = resolve(compile_all([*BASE, text]), [])
    assert library.refused == []
    return library


COMMON = settings(
    max_examples=24 * SOAK, deadline=None, database=None, derandomize=SOAK == 1,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@COMMON
@given(correlations(), st.lists(facts, min_size=1, max_size=14), st.lists(st.integers(0, 14), max_size=2))
def test_windows(correlation: dict[str, Any], given_facts: list[Fact], cuts: list[int]) -> None:
    events = build_events(given_facts)
    library = library_of(correlation)
    alerts = {"rule": len(library.rules) - 1}
    at_once = Engine(library)
    with open_samples(events) as connection:
        at_once.push(connection, "SELECT * FROM events")
        assert numbers(at_once, alerts["rule"]) == expected(correlation, events)
        piecemeal = Engine(library)
        edges = [0, *sorted(cuts), len(events)]
        # The last part comes first: late events complete what earlier ones began.
        parts = list(itertools.pairwise(edges))
        for begin, end in [*parts[-1:], *parts[:-1]]:
            piecemeal.push(connection, f"SELECT * FROM events WHERE number >= {begin} AND number < {end}")
    if is_growing(correlation):
        assert numbers(piecemeal, alerts["rule"]) == expected(correlation, events)
    else:  # what is true of a window that is not whole yet has been said
        assert numbers(piecemeal, alerts["rule"]) >= expected(correlation, events)


def is_growing(correlation: dict[str, Any]) -> bool:
    """Whether what holds of a window holds of it with more events as well."""
    condition = correlation.get("condition", {"gte": 0})
    if isinstance(condition, str):
        return "not" not in condition
    counts = correlation["type"] in ("event_count", "value_count", "temporal", "temporal_ordered")
    return counts and ("gte" in condition or "gt" in condition)


def numbers(engine: Engine, rule: int) -> set[int]:
    """The numbers of the events that gave an alert of the correlation."""
    rows = engine._store.execute("SELECT number FROM reported WHERE rule = ?", [rule]).fetchall()
    return {row[0] for row in rows}
