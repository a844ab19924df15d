"""ECS: what is written is what the published schema allows (tests/schemas), and says what happened."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from pythonaudit.export.formats import ecs
from tests.exported import catalogued, named, recorded, samples
from tests.schemas.regenerate import HERE

SCHEMA = json.loads((HERE / f"ecs-{ecs.VERSION}.json").read_text())
FIELDS: dict[str, Any] = SCHEMA["fields"]
KINDS = {"keyword": str, "wildcard": str, "match_only_text": str, "long": int, "ip": str, "date": str}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


def leaves(document: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Each field by its dotted name; what is below `pythonaudit` is ours."""
    for name, value in document.items():
        if isinstance(value, dict) and before + name != "pythonaudit":
            yield from leaves(value, f"{before}{name}.")
        elif before + name != "pythonaudit":
            yield before + name, value


def problems(document: dict[str, Any]) -> Iterator[str]:
    """What the schema does not allow."""
    for name, value in leaves(document):
        said = FIELDS.get(name)
        if said is None:
            yield f"{name}: no field of ECS"
            continue
        values = value if "array" in said.get("normalize", ()) else [value]
        if not isinstance(values, list):
            yield f"{name}: no list"
            continue
        for one in values:
            if type(one) is not KINDS[said["type"]]:
                yield f"{name}: {one!r} is no {said['type']}"
            elif said["type"] == "ip":
                ipaddress.ip_address(one)
            elif said["type"] == "date" and not TIME.fullmatch(one):
                yield f"{name}: {one!r} is no time"
            elif said["type"] == "long" and not -(1 << 63) <= one < 1 << 63:
                yield f"{name}: {one} is too large"
            elif "allowed_values" in said and one not in said["allowed_values"]:
                yield f"{name}: {one!r} is not allowed"
    event = document["event"]
    for category in event.get("category", ()):
        expected = FIELDS["event.category"]["allowed_values"][category]
        for kind in event["type"]:
            if kind not in expected:
                yield f"{event['action']}: type {kind} is not expected in category {category}"


@pytest.mark.parametrize("events", [recorded, samples, catalogued], ids=lambda events: events.__name__)
def test_what_is_written_is_what_the_schema_allows(events: Any) -> None:
    found = events()
    assert len(found) > 100
    assert sorted({problem for event in found for problem in problems(ecs.build(event))}) == []


def test_the_check_bites() -> None:
    good = ecs.build(named("open", ["/x", "r", 0]))
    assert list(problems(good)) == []
    wrong: list[dict[str, Any]] = [
        {"process": {"pid": "1"}}, {"file": {"name_of": "x"}}, {"process": {"args": "x"}}, {"@timestamp": "now"},
        {"event": good["event"] | {"type": ["indicator"]}}, {"event": good["event"] | {"outcome": "maybe"}},
        {"event": good["event"] | {"sequence": 1 << 63}},
    ]  # fmt: skip
    assert [len(list(problems(good | one))) for one in wrong] == [1, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("name", "args", "where", "said"),
    [
        ("open", ["a/../b.txt", "r", 0], "file", {"path": "/srv/b.txt", "name": "b.txt"}),
        ("socket.connect", [None, ["10.0.0.1", 443]], "destination",
         {"address": "10.0.0.1", "ip": "10.0.0.1", "port": 443}),
        ("socket.connect", [None, ["example.org", 80]], "destination",
         {"address": "example.org", "domain": "example.org", "port": 80}),
        ("socket.connect", [None, "/run/x.sock"], "destination", {"address": "/run/x.sock"}),
        ("socket.getaddrinfo", ["example.org", 443, 0, 0, 0], "dns",
         {"type": "query", "question": {"name": "example.org"}}),
        ("urllib.Request", ["https://example.org:8443/a?b=1", None, {}, "GET"], "url",
         {"original": "https://example.org:8443/a?b=1", "scheme": "https", "domain": "example.org", "port": 8443,
          "path": "/a", "query": "b=1"}),
        ("ctypes.dlopen", ["/lib/libc.so.6"], "dll", {"path": "/lib/libc.so.6", "name": "libc.so.6"}),
        ("open", ["/x", "r", 0], "process",
         {"entity_id": "101112131415161718191a1b1c1d1e1f", "pid": 123, "name": "python3", "args_count": 2,
          "executable": "/usr/bin/python3", "args": ["/usr/bin/python3", "a b.py"],
          "command_line": "/usr/bin/python3 'a b.py'", "working_directory": "/srv", "parent": {"pid": 1},
          "thread": {"id": 123}}),
        ("open", ["/x", "r", 0], "log",
         {"origin": {"file": {"name": "/srv/app.py", "line": 12}, "function": "load"}}),
    ],
)  # fmt: skip
def test_what_happened_is_where_people_look(name: str, args: list[Any], where: str, said: Any) -> None:
    event = named(name, args, exe="/usr/bin/python3", argv=["a b.py"], cwd="/srv")
    assert ecs.build(event)[where] == said


def test_an_event_of_an_application() -> None:
    document = ecs.build(named("User logged in: username=johndoe, ip=10.0.0.1"))
    assert document["event"]["kind"] == "event"
    assert document["event"]["type"] == ["info"]
    assert "category" not in document["event"]
    assert document["message"] == "User logged in: username=johndoe, ip=10.0.0.1"
    assert document["pythonaudit"]["fields"] == {"username": "johndoe", "ip": "10.0.0.1"}
    assert document["pythonaudit"]["template"] == "User logged in: username=*, ip=*"
