"""Rules as SQL say of each event what a straightforward evaluator says (tests/sigma_evaluator.py)."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from tests.recorded import SOAK
from tests.sigma_corpus import EVENTS, TEXTS, compiled, matching
from tests.sigma_evaluator import matches

FIELDS = (
    *(
        "fields.a",
        "fields.b",
        "fields.a.b",
        "fields.a.c",
        "args",
        "args.0",
        "args.7",
        "exe",
        "user",
        "event",
        "cwd",
    ),
    *("stack", "stack.file", "stack.function", "package.name", "context.request", "argv", "pid", "uid"),
)
NETWORKS = ("10.0.0.0/8", "10.0.0.1/32", "::/0", "fe80::/10", "0.0.0.0/0")
EXPRESSIONS = ("a", "^a", "b$", "a.b", "[^a]", "^$", "a|B", "(?:ab)+", "\\d", "\\.", "^.b", "a\\\\b", "'")
TEXT_MODIFIERS = (
    *("", "|contains", "|startswith", "|endswith", "|cased", "|contains|cased", "|all", "|contains|all", "|neq"),
    *(
        "|windash",
        "|windash|contains",
        "|windash|contains|all",
        "|base64",
        "|base64|contains",
        "|base64offset|contains",
    ),
    *("|wide", "|wide|contains", "|wide|base64offset|contains"),
)

patterns = st.lists(st.sampled_from((*TEXTS, "*", "?", "\\*", "\\?", "\\\\", "\\")), min_size=1, max_size=3).map(
    "".join
)
fields = st.sampled_from(FIELDS)


def either(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return values | st.lists(values, min_size=1, max_size=3)


@st.composite
def items(draw: st.DrawFn) -> tuple[str, Any]:
    """One line of a detection."""
    field, kind = draw(fields), draw(st.sampled_from(("text", "text", "text", "number", "re", "cidr", "other")))
    if kind == "text":
        modifier = draw(st.sampled_from(TEXT_MODIFIERS))
        values = patterns | st.sampled_from(TEXTS)
        if "base64" in modifier or "wide" in modifier:
            values = st.sampled_from(("a", "ab", "abc", "b", "1"))
        elif "windash" in modifier:
            values = st.sampled_from(("-a", "/a", "a", "-a -b", "a-b", "/a*"))
        return field + modifier, draw(either(values))
    if kind == "number":
        numbers = st.sampled_from((0, 1, 12, 1.5, -1.5, 4444, 1000))
        return field + draw(st.sampled_from(("", "|gt", "|gte", "|lt", "|lte"))), draw(either(numbers))
    if kind == "re":
        return field + "|re" + draw(st.sampled_from(("", "|i", "|m", "|s", "|i|s"))), draw(
            either(st.sampled_from(EXPRESSIONS))
        )
    if kind == "cidr":
        return field + "|cidr", draw(either(st.sampled_from(NETWORKS)))
    return draw(
        st.sampled_from(
            [
                (field, None),
                (field, True),
                (field, ["a", None, ""]),
                (field + "|exists", True),
                (field + "|exists", False),
                (field + "|fieldref", draw(fields)),
                (field + "|fieldref|contains", draw(fields)),
                (field + "|fieldref|startswith", draw(fields)),
                (field + "|fieldref|endswith", draw(fields)),
            ]
        )
    )


keywords = either(patterns) | st.tuples(st.sampled_from(EXPRESSIONS)).map(lambda one: {"|re": one[0]})
maps = st.lists(items(), min_size=1, max_size=3).map(dict)
selections = maps | st.lists(maps, min_size=1, max_size=2) | keywords
conditions = st.sampled_from(
    (
        *("one", "not one", "one and two", "one or not two", "not (one and other) or two", "1 of them"),
        *("all of them", "1 of o*", "all of o* and not two", "not 1 of them", "any of them and one"),
    )
)
detections = st.fixed_dictionaries(
    {"one": selections, "two": selections, "other": selections, "condition": conditions}
)


@settings(
    max_examples=80 * SOAK, deadline=None, database=None, derandomize=SOAK == 1,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(detections)
def test_sql_says_what_the_rule_means(detection: dict[str, Any]) -> None:
    expected = {place for place, event in enumerate(EVENTS) if matches(event, detection)}
    assert matching([compiled(detection)]) == [expected]


@pytest.mark.parametrize("field", FIELDS)
def test_the_corpus_has_both(field: str) -> None:
    """Some events have the field and some have not, so that what is said of either is put to the test."""
    there = {
        place
        for place, event in enumerate(EVENTS)
        if matches(event, {"x": {field + "|exists": True}, "condition": "x"})
    }
    assert len(there) < len(EVENTS) or field == "event"
    assert there or field == "args.7"
