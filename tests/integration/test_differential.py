"""Our hook and a plain hook of Python, in the same process: equal events, arguments and order in each thread.

`compared_program.py` keeps what its Python hook was called with. Here is said, independently of the recorder,
what of that docs/format/journal.md lets the journal hold.
"""

from __future__ import annotations

import base64
import json
import math
import re
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from pythonaudit import catalog
from pythonaudit.journal.decode import Event
from tests.conftest import FREE_THREADED, Installed, Recording
from tests.recorded import is_whole, threads

HERE = Path(__file__).parent
TEXT_MAX, ITEMS_MAX, DEPTH_MAX, WHOLE_MAX = 4096, 128, 6, 16384

Snapshot = list[Any]


class Comparison:
    """Compares the arguments of one event; remembers which text had which hash."""

    def __init__(self) -> None:
        self.hashes: dict[bytes, str] = {}
        self.notes: set[str] = set()
        self.full = False
        self.cyclic = False

    def arguments(self, event: Event, snapshot: Snapshot) -> bool:
        self.notes = set(event.notes)
        self.full = len(event.args) > WHOLE_MAX - 64
        self.cyclic = event.event == "compare.depth"
        info = catalog.lookup(event.event)
        rules = info.arg_rules if info else ()
        found = event.values
        _, count, items = snapshot
        found, left = self.without_more(found)
        if len(found) + left != count:
            return False
        return all(
            self.value(value, item, rule or "value")
            for value, item, rule in zip_longest(found, items[: len(found)], rules[: len(found)])
        )

    def without_more(self, found: list[Any]) -> tuple[list[Any], int]:
        """The items that are there, and how many are said to be left out."""
        if found and isinstance(found[-1], dict) and list(found[-1]) == ["$more"] and "items" in self.notes:
            return found[:-1], found[-1]["$more"]
        return found, 0

    def value(self, found: Any, snapshot: Snapshot, rule: str) -> bool:
        tag = snapshot[0]
        if snapshot == ["constant", None]:
            return found is None
        if rule in ("env_value", "secret"):
            return bool(found == "***")
        if rule == "object":
            return self.is_type(found, snapshot) if tag == "object" else set(found) == {"$type"}
        if rule in ("code", "bulk") and tag in ("str", "bytes"):
            return self.hashed(found, snapshot)
        if rule in ("code", "bulk", "http", "sql", "input", "length") and tag in ("str", "bytes", "list", "dict"):
            return self.summarised(found, {"$length": self.length(snapshot)})
        if rule == "line" and isinstance(found, dict) and "$length" in found:
            return self.summarised(found, {"$length": self.length(snapshot)})
        return self.plain(found, snapshot, 0)

    def length(self, snapshot: Snapshot) -> int:
        tag, what, *_ = snapshot
        return {"str": lambda: len(what), "bytes": lambda: len(what) // 2}.get(tag, lambda: int(what))()

    def summarised(self, found: Any, wanted: dict[str, Any]) -> bool:
        return bool(found == wanted) and "summarised" in self.notes

    def hashed(self, found: Any, snapshot: Snapshot) -> bool:
        """Length and hash, the same for the same text and another one for another."""
        tag, what, *_ = snapshot
        text = bytes.fromhex(what) if tag == "bytes" else what.encode("utf-8", "surrogatepass")
        digest = self.hashes.setdefault(text, found.get("$hash", ""))
        assert re.fullmatch("[0-9a-f]{16}", digest)
        return self.summarised(found, {"$length": self.length(snapshot), "$hash": digest})

    def is_type(self, found: Any, snapshot: Snapshot) -> bool:
        return set(found) == {"$type"} and bool(found["$type"].rpartition(".")[2] == snapshot[1])

    def plain(self, found: Any, snapshot: Snapshot, depth: int) -> bool:
        tag, *rest = snapshot
        if tag == "constant":
            return found is rest[0]
        if tag == "int":
            return self.integer(found, int(rest[0], 16))
        if tag == "float":
            return self.number(found, float.fromhex(rest[0]))
        if tag == "str":
            return self.text(found, rest[0])
        if tag == "bytes" and FREE_THREADED and rest[1] == "bytearray":  # which has no lock to be read under
            return self.summarised(found, {"$length": self.length(snapshot)})
        if tag == "bytes":
            return self.data(found, bytes.fromhex(rest[0]))
        if tag == "code":
            return bool(found == {"$code": dict(zip(("file", "name", "line"), rest, strict=True))})
        if tag == "object":
            return self.is_type(found, snapshot)
        if depth > DEPTH_MAX - 1:
            return found == {"$depth": rest[0]} and "depth" in self.notes
        return (self.items if tag == "list" else self.mapping)(found, *rest, depth)

    def integer(self, found: Any, wanted: int) -> bool:
        if -(2**63) <= wanted < 2**63:
            return type(found) is int and found == wanted
        if wanted.bit_length() <= 1024:
            return bool(found == {"$int": hex(wanted)})
        sign = "-" if wanted < 0 else ""
        return found == {"$int": f"{sign}~2^{wanted.bit_length() - 1}"} and "truncated" in self.notes

    def number(self, found: Any, wanted: float) -> bool:
        if math.isfinite(wanted):
            return type(found) is float and (found, math.copysign(1, found)) == (wanted, math.copysign(1, wanted))
        return bool(found == {"$float": str(wanted)})

    def text(self, found: Any, wanted: str) -> bool:
        if isinstance(found, dict):
            raw = base64.b64decode(found["$wtf8"])
            return any("\ud800" <= c <= "\udfff" for c in wanted) and raw == wanted.encode(
                "utf-8", "surrogatepass"
            )
        return isinstance(found, str) and self.maybe_masked(found, wanted)

    def data(self, found: Any, wanted: bytes) -> bool:
        if "$base64" in found:
            with pytest.raises(UnicodeDecodeError):
                wanted.decode()
            return self.is_cut(base64.b64decode(found["$base64"]), wanted)
        return self.maybe_masked(found["$bytes"], wanted.decode("utf-8", "replace"))

    def maybe_masked(self, found: str, wanted: str) -> bool:
        if "***" in found and "masked" in self.notes:
            return re.fullmatch(".*".join(map(re.escape, found.split("***"))), wanted, re.S) is not None
        return self.is_cut(found.encode(), wanted.encode())

    def is_cut(self, found: bytes, wanted: bytes) -> bool:
        """All of it; or its first 4096 bytes, less a character that would be cut in two; or what the array held."""
        if found == wanted:
            return len(wanted) <= TEXT_MAX
        long_enough = self.full or len(found) > TEXT_MAX - 4
        return "truncated" in self.notes and wanted.startswith(found) and long_enough and len(found) <= TEXT_MAX

    def items(self, found: Any, count: int, items: list[Snapshot], depth: int) -> bool:
        if FREE_THREADED and self.cyclic and depth > 0 and isinstance(found, dict):  # its lock is ours already
            return self.summarised(found, {"$length": count})
        found, left = self.without_more(found)
        if len(found) + left != count or (left == 0 and count > ITEMS_MAX) or len(found) > ITEMS_MAX:
            return False
        return all(self.plain(f, item, depth + 1) for f, item in zip(found, items, strict=False))

    def mapping(self, found: Any, count: int, items: list[tuple[Snapshot, Snapshot]], depth: int) -> bool:
        left = found.pop("$more", 0) if "items" in self.notes else 0
        wanted = {self.key(key): value for key, value in items[: count - left]}
        if list(found) != list(wanted) or len(found) > ITEMS_MAX:
            return False
        return all(self.plain(found[key], wanted[key], depth + 1) for key in found)

    def key(self, snapshot: Snapshot) -> str:
        tag, what, *_ = snapshot
        if tag == "str":
            text = what.encode("utf-8", "backslashreplace").decode()
            return "$" + text if text.startswith("$") else text
        if tag == "bytes":
            return bytes.fromhex(what).decode("utf-8", "backslashreplace")
        if tag == "int":
            return str(int(what, 16))
        return json.dumps(float.fromhex(what) if tag == "float" else what)


def same_name(found: Event, wanted: str) -> bool:
    """The name, up to its first NUL (C's end of a string) and at most 4096 bytes of it."""
    wanted = wanted.partition("\0")[0]
    if "name-changed" in found.notes:
        whole = wanted.encode("utf-8", "replace")
        return whole.startswith(found.event.encode()) and TEXT_MAX - 3 <= len(found.event.encode()) <= TEXT_MAX
    return found.event == wanted


def between(events: list[Any], names: list[str]) -> slice:
    """From `compare.begin` to `compare.end`."""
    return slice(names.index("compare.begin"), names.index("compare.end") + 1)


@pytest.fixture(scope="session")
def compared(
    installed: Installed, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Recording, dict[int, list[Any]]]:
    """The recording, and what the Python hook saw of each thread."""
    kept = tmp_path_factory.mktemp("compared") / "seen.json"
    recording = installed.record([HERE / "compared_program.py", kept], settings={"PYTHONAUDIT_EVENTS": "all"})
    seen: dict[int, list[Any]] = {}
    for tid, name, snapshot in json.loads(kept.read_text()):
        seen.setdefault(tid, []).append((name, snapshot))
    return recording, seen


def test_events_and_arguments_are_equal(compared: tuple[Recording, dict[int, list[Any]]]) -> None:
    recording, seen = compared
    assert is_whole(recording)
    (process,) = {e.process.id for e in recording.events("compare.begin")}
    of_process = (e for e in recording.events() if e.process.id == process)
    ours: dict[int, list[Event]] = {}
    for thread in threads(of_process).values():
        assert ours.setdefault(thread[0].tid, thread) is thread
    assert set(ours) == set(seen)
    comparison = Comparison()
    compared_events = 0
    for tid, wanted in seen.items():
        found = ours[tid]
        if found[0].tid == found[0].process.pid:
            found = found[between(found, [e.event for e in found])]
            wanted = wanted[between(wanted, [name for name, _ in wanted])]
        for event, (name, snapshot) in zip(found, wanted, strict=False):
            assert same_name(event, name), f"{event.event!r} is recorded where {name!r} was raised"
            assert comparison.arguments(event, snapshot), f"{name}: {event.args!r:.2000} for {snapshot!r:.2000}"
        assert len(found) == len(wanted)
        compared_events += len(found)
    assert compared_events > 1500
    hashes = set(comparison.hashes.values())
    assert len(hashes) == len(comparison.hashes) > 100
    names = {e.event for e in recording.events()}
    assert len(names & set(catalog.events())) > 110


def test_what_is_cut_says_so(compared: tuple[Recording, dict[int, list[Any]]]) -> None:
    """And what is not cut does not say so; no array is longer than its limit."""
    recording, _ = compared
    for event in recording.events():
        text = event.args.decode()
        assert len(event.args) <= WHOLE_MAX
        assert ("depth" in event.notes) == ('{"$depth":' in text)
        assert ("items" in event.notes) == ('"$more":' in text)
        assert ("summarised" in event.notes) == ('{"$length":' in text)
        if "masked" in event.notes:
            assert "***" in text + event.event
