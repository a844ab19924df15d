"""OCSF: what is written is what the published schema allows (tests/schemas), and says what happened."""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pythonaudit import catalog
from pythonaudit.export.formats import ocsf
from pythonaudit.journal import layout
from tests.exported import alerted, catalogued, named, recorded, samples
from tests.schemas.regenerate import HERE

SCHEMA = json.loads((HERE / f"ocsf-{ocsf.VERSION}.json").read_text())


@cache
def validator(class_uid: int) -> Draft202012Validator:
    return Draft202012Validator(SCHEMA["classes"][str(class_uid)] | {"$defs": SCHEMA["$defs"]})


def problems(document: dict[str, Any]) -> list[str]:
    class_uid = document["class_uid"]
    found = [
        f"{class_uid} {error.json_path}: {error.message}" for error in validator(class_uid).iter_errors(document)
    ]
    if document["type_uid"] != class_uid * 100 + document["activity_id"]:
        found.append(f"{class_uid} $.type_uid")
    return found


@pytest.mark.parametrize("events", [recorded, samples, catalogued], ids=lambda events: events.__name__)
def test_what_is_written_is_what_the_schema_allows(events: Any) -> None:
    found = events()
    assert len(found) > 100
    assert sorted({problem for event in found for problem in problems(ocsf.build(event))}) == []


def test_the_check_bites() -> None:
    good = ocsf.build(named("open", ["/x", "r", 0]))
    assert problems(good) == []
    wrong: list[dict[str, Any]] = [
        {"activity_id": 77, "type_uid": 100177}, {"type_uid": 1}, {"time": "now"}, {"file": {"path": "/x"}},
        {"device": {"type_id": 0}}, {"made_up": 1}, {"actor": good["actor"] | {"made_up": 1}},
    ]  # fmt: skip
    assert [one for one in wrong if not problems(good | one)] == []
    assert problems({name: value for name, value in good.items() if name != "metadata"})


def test_every_class_that_the_catalog_names_is_used_or_left_out_on_purpose() -> None:
    used = {ocsf.build(event)["class_uid"] for event in catalogued()}
    named_classes = {info.ocsf_class for info in catalog.events().values()}
    assert used <= named_classes
    assert named_classes - used == {1003, 4009, 6003, 201001, 201002}  # docs/guide/formats.md says why


@pytest.mark.parametrize(
    ("name", "args", "kind", "where", "said"),
    [
        ("open", ["a/../b.txt", "r", 0], 100114, "file", {"name": "b.txt", "path": "/srv/b.txt", "type_id": 0}),
        ("os.rename", ["/a", "/b", -1, -1], 100105, "file_result", {"name": "b", "path": "/b", "type_id": 0}),
        ("socket.connect", [None, ["10.0.0.1", 443]], 400101, "dst_endpoint", {"ip": "10.0.0.1", "port": 443}),
        ("socket.connect", [None, "/run/x.sock"], 400101, "dst_endpoint", {"name": "/run/x.sock"}),
        ("socket.bind", [None, ["::", 80, 0, 0]], 400107, "src_endpoint", {"ip": "::", "port": 80}),
        ("socket.getaddrinfo", ["example.org", 443, 0, 0, 0], 400301, "query", {"hostname": "example.org"}),
        ("import", ["json", None, None, None, None], 100501, "module",
         {"load_type_id": 0, "type": "Python", "function_name": "json"}),
        ("ctypes.dlopen", ["/lib/libc.so.6"], 100501, "module",
         {"load_type_id": 1, "file": {"name": "libc.so.6", "path": "/lib/libc.so.6", "type_id": 0}}),
        ("os.kill", [77, 9], 100702, "process", {"pid": 77}),
        ("compile", [{"$length": 9}, "<string>"], 100901, "script",
         {"type_id": 3, "name": "<string>",
          "script_content": {"value": "", "is_truncated": True, "untruncated_size": 9}}),
        ("urllib.Request", ["https://example.org/a?b=1", None, {}, "GET"], 400299, "http_request",
         {"url": {"url_string": "https://example.org/a?b=1", "scheme": "https", "hostname": "example.org",
                  "path": "/a", "query_string": "b=1"}, "http_method": "GET"}),
    ],
)  # fmt: skip
def test_what_happened_is_where_people_look(name: str, args: list[Any], kind: int, where: str, said: Any) -> None:
    document = ocsf.build(named(name, args, cwd="/srv"))
    assert (document["type_uid"], document[where]) == (kind, said)


def test_what_is_launched_is_no_process_yet() -> None:
    event = named("subprocess.Popen", ["git", ["git", "commit"], None, None], cwd="/srv")
    document = ocsf.build(event)
    assert document["type_uid"] == 100701
    assert document["process"]["cmd_line"] == "git commit"
    assert document["process"]["uid"] == event.id
    assert document["process"]["parent_process"]["pid"] == 123
    assert "pid" not in document["process"]


def test_an_event_of_an_application() -> None:
    document = ocsf.build(named("User logged in: username=johndoe"))
    assert (document["class_uid"], document["type_uid"], document["category_uid"]) == (0, 99, 0)
    assert document["metadata"]["event_code"] == "User logged in: username=*"
    assert document["unmapped"]["fields"] == {"username": "johndoe"}


def test_the_event_is_there_as_it_is_with_its_hash() -> None:
    event = named("open", ["/x", "r", 0])
    document = ocsf.build(event)
    raw = document["raw_data"].encode()
    assert raw == event.to_json()
    assert document["raw_data_hash"] == {
        "algorithm_id": 3, "algorithm": "SHA-256", "value": sha256(raw).hexdigest(),
    }  # fmt: skip


def test_an_alert_is_a_finding() -> None:
    document = ocsf.build(alerted())
    assert problems(document) == []
    assert (document["type_uid"], document["severity_id"], document["count"]) == (200401, 4, 7)
    assert document["message"] == "Credential File Read"
    assert document["finding_info"] == {
        "uid": "3f2a9c0d71be", "title": "Credential File Read",
        "analytic": {"type_id": 1, "uid": "bbc2fa25", "name": "Credential File Read"},
        "attacks": [{"technique": {"uid": "T1552"}, "sub_technique": {"uid": "T1552.001"}},
                    {"technique": {"uid": "T1552"}}],
        "first_seen_time": 1795357833123, "last_seen_time": 1795357834123, "related_events_count": 1,
    }  # fmt: skip


def test_whoever_raises_one_himself_has_raised_an_event() -> None:
    assert ocsf.build(alerted(layout.WAY_SITE))["class_uid"] == 0
