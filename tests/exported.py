"""Events for the tests of export: recorded ones of real interpreters, one of each kind, and hostile ones."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pythonaudit import catalog
from pythonaudit.journal import layout
from pythonaudit.journal.decode import Event, SegmentDecoder
from pythonaudit.journal.segment import parse_segment
from tests.journal_writer import SegmentWriter
from tests.journals import MAIN, SAMPLES

GOLDEN = Path(__file__).parent / "golden"

#: What an argument of each rule looks like; the second of a list is what it also may be.
_VALUES: dict[str, list[Any]] = {
    "value": [7, "text", None, 2.5, [1, 2], True],
    "path": [
        "/srv/data/a.txt",
        "data/../b",
        {"$bytes": "/tmp/x"},
        7,
        {"$wtf8": "YWLtsoA="},
        ["/bin/a", "/bin/b"],
        "",
    ],
    "command": [["git", "commit", "-m", "a b"], "ls -l | wc", {"$bytes": "ls"}, "json"],
    "code": [{"$code": {"file": "/srv/app.py", "name": "f", "line": 3}}, {"$length": 9}],
    "url": ["https://user:***@example.org:8443/a/b?x=1#y", "http://[", "no url", "/a"],
    "object": [{"$type": "socket.socket"}, None],
    "length": [{"$length": 9, "$hash": "a1b2c3d4e5f60718"}, 5, None],
}
_ADDRESSES: list[Any] = [
    ["10.0.0.1", 443], ["::1", 443, 0, 0], "example.org", "/run/x.sock", {"$bytes": "\0abstract"}, ["", 0], 7, None,
    ["a b", "http"], ["fe80::1%eth0", 70000],
]  # fmt: skip


def decoded(data: bytes) -> list[Event]:
    """The events of a segment, in its order."""
    segment = parse_segment(data)
    decoder = SegmentDecoder(segment, 1000)
    return list(decoder.events(np.arange(len(segment.events))))


def recorded() -> list[Event]:
    """Events that real interpreters recorded (tests/golden)."""
    return [event for path in sorted(GOLDEN.glob("real-*.pyaudit")) for event in decoded(path.read_bytes())]


def samples() -> list[Event]:
    """Events with every form of an argument, name, context and clock."""
    return [event for sample in SAMPLES.values() for event in decoded(sample())]


@cache
def catalogued() -> Sequence[Event]:
    """Each event of the catalog, with several kinds of arguments; those of applications last."""
    writer = SegmentWriter(
        attributes={"host": "web-1", "exe": "/usr/bin/python3", "argv": ["app.py"], "cwd": "/srv"}
    )
    thread = writer.thread()
    for info in catalog.events().values():
        for turn in range(len(_ADDRESSES) if info.address_args else 4):
            thread.event(info.name, list(_arguments(info, turn)), stack=MAIN)
        thread.event(info.name, [])
    thread.context({"user": "johndoe", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "n": 5})
    for args in ([], [{"order": 7, "password": "***"}], ["a", None]):
        thread.event("User logged in: username=johndoe, ip=192.168.0.1", args, source=layout.SOURCE_APPLICATION)
    return decoded(writer.build())


def _arguments(info: catalog.EventInfo, turn: int) -> Iterator[Any]:
    for name, rule in zip(info.args, info.arg_rules, strict=True):
        values = (
            _ADDRESSES
            if name in info.address_args and name not in ("fullurl", "url")
            else _VALUES.get(rule, _VALUES["value"])
        )
        if name in info.command_args:
            values = _VALUES["command"]
        yield values[turn % len(values)]


def packaged() -> Event:
    """One event of code of a distribution that is installed here: it is known on this host alone."""
    attributes = {"host": socket.gethostname(), "path": [str(Path(pytest.__file__).parent.parent)]}
    writer = SegmentWriter(
        begin_ns=time.time_ns(),
        attributes=attributes,
        pid_namespace=os.stat("/proc/self/ns/pid").st_ino,
        parent=b"\1" * 16,
    )
    writer.thread().event("open", ["/x", "r", 0], stack=[(pytest.__file__, 1, "<module>")])
    (event,) = decoded(writer.build())
    return event


def alerted(way: int = layout.WAY_AGENT) -> Event:
    """An alert."""
    said = {
        "alert": "3f2a9c0d71be", "rule": "bbc2fa25", "title": "Credential File Read", "level": "high",
        "techniques": ["T1552.001", "T1552"], "count": 7, "host": "web-1", "process": "00" * 16,
        "first": "2026-11-22T14:30:33.123456789Z", "last": "2026-11-22T14:30:34.123456789Z",
        "package": {"name": "requests", "version": "2.32.3"}, "events": [f"{'00' * 16}/1/5"],
    }  # fmt: skip
    writer = SegmentWriter(attributes={"host": "web-1"}, way=way)
    writer.thread().event("pythonaudit.alert", [said], source=layout.SOURCE_APPLICATION)
    (event,) = decoded(writer.build())
    return event


def named(name: str, args: Any = (), **attributes: Any) -> Event:
    """One event, of a process with these attributes."""
    writer = SegmentWriter(attributes={"host": "web-1"} | attributes)
    writer.thread().event(name, args, stack=MAIN, source=layout.SOURCE_APPLICATION)
    (event,) = decoded(writer.build())
    return event
