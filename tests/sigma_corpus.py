"""Events for rules to be held against: few letters, so that much matches, and everything that is hard to match.

`EVENTS` are the same every time. Each has its place as its number.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from pythonaudit.detect.compile import compile_documents
from pythonaudit.detect.documents import parse_documents
from pythonaudit.detect.rules import Compiled, Rule
from pythonaudit.detect.scan import find_matches
from pythonaudit.query.connection import Connection
from pythonaudit.query.samples import open_samples
from tests.recorded import SEED, SOAK

TEXTS = (
    "", "a", "A", "ab", "aB", "b.a", "a*b", "a?b", "a\\b", "a%b", "a_b", "axb", "é", "Éa", "ß", "a\nb", "a b", "'a'",
    '"a"', "a\0b\0", "-a", "/a -b", "\u2014a", "YWI=", "xYWJj", "YQ==", "12", "-1.5", "1e3", "0012", "nan", "inf", "true",
    "10.0.0.1", "10.1.2.3", "::1", "::ffff:10.0.0.1", "fe80::1%eth0", "fe80::2", "null", "日本", "aaaa", "abab",
)  # fmt: skip
NAMES = ("a message: user=a", "A message: user=B", "shop.paid", "x")


def _value(random_: random.Random, depth: int = 0) -> Any:
    kind = random_.random()
    if kind < 0.6:
        return random_.choice(TEXTS)
    if kind < 0.75:
        return random_.choice((0, 1, -1, 12, 1.5, 4444, 1000, True, False))
    if kind < 0.85 or depth:
        return None
    return [_value(random_, 1) for _ in range(random_.randrange(4))]


def _event(random_: random.Random, place: int) -> dict[str, Any]:
    event: dict[str, Any] = {"id": f"{place % 7:032x}/0/{place}", "category": "application"}
    event["event"] = random_.choice(NAMES)
    hour = random_.randrange(24)
    event["time"] = f"2026-11-{1 + place % 28:02}T{hour:02}:{place % 60:02}:00.{place:09}Z"
    event["fields"] = {name: _value(random_) for name in ("a", "b", "a.b") if random_.random() < 0.6}
    if random_.random() < 0.4:
        event["fields"]["a"] = {"b": _value(random_, 1), "c": random_.choice(TEXTS)}
    if random_.random() < 0.8:
        event["args"] = [_value(random_) for _ in range(random_.randrange(1, 4))]
    for name in ("exe", "user", "cwd", "python"):
        if random_.random() < 0.6:
            event[name] = random_.choice(TEXTS)
    for name in ("pid", "uid"):
        if random_.random() < 0.7:
            event[name] = random_.choice((0, 1, 12, 4444, 1000))
    if random_.random() < 0.5:
        event["stack"] = [
            {"file": random_.choice(TEXTS), "line": random_.randrange(20), "function": random_.choice(TEXTS)}
            for _ in range(random_.randrange(1, 4))
        ]
    if random_.random() < 0.4:
        event["package"] = {"name": random_.choice(TEXTS), "version": "1.0"}
    if random_.random() < 0.4:
        event["context"] = {"request": _value(random_, 1)}
    if random_.random() < 0.4:
        event["argv"] = [random_.choice(TEXTS) for _ in range(2)]
    return event


EVENTS = [_event(random.Random(f"{SEED} {place}"), place) for place in range(150 * SOAK)]


@cache
def corpus() -> Connection:
    """The events as a view."""
    return open_samples(EVENTS)


def rule_text(detection: Any, **more: Any) -> bytes:
    """A rule file: JSON is YAML."""
    rule = {"title": "A rule", "logsource": {"product": "python", "service": "audit"}, "detection": detection}
    # YAML has no escapes of pairs of surrogates, and takes no bare control characters.
    return json.dumps(rule | more, ensure_ascii=True).encode()


def compiled(detection: Any, **more: Any) -> Rule:
    """The rule with a detection; fails if it is refused."""
    found = compile_all([rule_text(detection, **more)])
    assert isinstance(found[0], Rule)
    return found[0]


def compile_all(texts: Iterable[bytes]) -> list[Compiled]:
    """Rules in files; fails if one is refused."""
    found: list[Compiled] = []
    for text in texts:
        some, refused = compile_documents(parse_documents(text, "rule.yml"), {"letters": ["a", "b*"]})
        assert refused == []
        found += some
    return found


def matching(rules: Sequence[Rule], connection: Connection | None = None) -> list[set[int]]:
    """For each rule, the numbers of the events that match."""
    found: list[set[int]] = [set() for _ in rules]
    for table in find_matches(connection or corpus(), rules, "SELECT * FROM events"):
        for row in table.select(["number", "matched"]).to_pylist():
            assert row["matched"], "an event that matches nothing"
            for rule in row["matched"]:
                found[rule].add(row["number"])
    return found
