"""Arguments and free-form names to fields."""

from __future__ import annotations

from typing import Any

import pytest

from pythonaudit.journal.fields import (
    application_fields,
    build_template,
    flatten,
    named_fields,
    parse_pairs,
    text_of,
)


@pytest.mark.parametrize(
    ("name", "pairs", "template"),
    [
        (
            "User logged in: username=johndoe, ip=192.168.0.1",
            {"username": "johndoe", "ip": "192.168.0.1"},
            "User logged in: username=*, ip=*",
        ),
        ("no pairs at all", {}, "no pairs at all"),
        ("a=1;b=2 c=3,d=4", {"a": "1", "b": "2", "c": "3", "d": "4"}, "a=*;b=* c=*,d=*"),
        ("""m="two words" n='it, too;' z""", {"m": "two words", "n": "it, too;"}, "m=* n=* z"),
        (r'm="a \"b\" c" n=1', {"m": 'a "b" c', "n": "1"}, "m=* n=*"),
        (r'path="C:\new\table"', {"path": r"C:\new\table"}, "path=*"),
        ('open="never closed n=1', {"open": '"never', "n": "1"}, "open=* closed n=*"),
        ("empty= next=1", {"empty": "", "next": "1"}, "empty=* next=*"),
        ("Straße=Köln", {"Straße": "Köln"}, "Straße=*"),
        ("(user=x) [id=7]", {"user": "x)", "id": "7]"}, "(user=* [id=*"),
        ("url=http://h/p?a=b&c=d x", {"url": "http://h/p?a=b&c=d"}, "url=* x"),
        ("a-b=1 a.b=2 9x=3 =4", {}, "a-b=1 a.b=2 9x=3 =4"),
        ("x == y a==b", {}, "x == y a==b"),
        ("user=a user=b", {"user": "b"}, "user=* user=*"),
        ("line\nnext=1\tlast=2", {"next": "1", "last": "2"}, "line\nnext=*\tlast=*"),
        ("password=***", {"password": "***"}, "password=*"),
        ("", {}, ""),
    ],
)
def test_pairs_and_template(name: str, pairs: dict[str, str], template: str) -> None:
    assert parse_pairs(name) == pairs
    assert build_template(name) == template


def test_names_of_one_kind_have_one_template() -> None:
    names = [f"paid: order={n}, by='user {n}'" for n in range(5)]
    assert {build_template(name) for name in names} == {"paid: order=*, by=*"}


@pytest.mark.parametrize(
    ("value", "flat"),
    [
        ({"$bytes": "/etc/passwd"}, "/etc/passwd"),
        ({"$base64": "L3RtcC//"}, "/tmp/\\xff"),
        ({"$wtf8": "YWLtsoA="}, "ab\\udc80"),
        ({"$base64": "not base64!"}, "not base64!"),
        ({"$float": "nan"}, "nan"),
        ({"$int": "0x1f"}, "0x1f"),
        ({"$type": "socket.socket"}, "<socket.socket>"),
        ({"$code": {"file": "a.py", "name": "f", "line": 3}}, "f (a.py:3)"),
        ({"$length": 10}, "<10 long>"),
        ({"$length": 10, "$hash": "00"}, "<10 long>"),
        ({"$length": 10, "$hash": "00", "$text": "print(1)"}, "print(1)"),
        ({"$depth": 3}, "<3 items>"),
        ([1, {"$bytes": "x"}, {"$more": 3}], [1, "x", "… 3 more"]),
        ({"a": {"$bytes": "x"}, "$more": 2}, {"a": "x", "…": "2 more"}),
        ({"$$price": 1, "$$bytes": "x"}, {"$price": 1, "$bytes": "x"}),
        ({"a": 1, "$$b": 2}, {"a": 1, "$b": 2}),
        ({}, {}),
        (None, None),
        (1.5, 1.5),
    ],
)
def test_flatten(value: Any, flat: Any) -> None:
    assert flatten(value) == flat


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("/srv", "/srv"),
        ({"$bytes": "/srv"}, "/srv"),
        ({"$base64": "/w=="}, r"\xff"),
        ({"$wtf8": "7bO/"}, r"\udcff"),
        ({"$bytes": 7}, None),
        ({"$type": "pathlib.Path"}, None),
        ({"$length": 9, "$text": "secret"}, None),
        ({"path": "/srv"}, None),
        ({}, None),
        (["/srv"], None),
        (7, None),
        (None, None),
    ],
)
def test_text_of(value: Any, text: str | None) -> None:
    assert text_of(value) == text


def test_named_fields_leave_none_out() -> None:
    values = ["/etc/passwd", None, {"$int": "0x10000000000000000"}]
    assert named_fields(("path", "mode", "flags"), values) == {
        "path": "/etc/passwd",
        "flags": "0x10000000000000000",
    }


def test_application_fields() -> None:
    paid = {"order": 7, "by": {"$bytes": "x"}}
    assert application_fields({}, [paid]) == {"order": 7, "by": "x"}
    assert application_fields({}, [1, paid, None, {"$bytes": "y"}]) == {
        "arg0": 1,
        "order": 7,
        "by": "x",
        "arg3": "y",
    }
    assert application_fields({"order": "a", "user": "b"}, [{"order": 7}]) == {"order": 7, "user": "b"}
