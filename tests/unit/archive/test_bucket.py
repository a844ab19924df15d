"""Keys and objects of a bucket, as values; what is hostile in them."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pythonaudit.archive.bucket import (
    MOST_NAMED,
    Listed,
    Scope,
    Sealed,
    Span,
    build_listed,
    build_sealed,
    entry_key,
    host_key,
    name_of,
    parse_entry_key,
    parse_listed,
    parse_sealed,
    parse_sealed_key,
    part_key,
    sealed_key,
    text_of,
)
from pythonaudit.archive.manifest import Entry, Part
from pythonaudit.errors import FormatError

BATCH = "18ec75ab86f33364-0e388007"
SHA = "ab" * 32
PART = Part(
    "events", f"events/day=2026-11-22/host=web-1/{BATCH}.parquet", 3, 900, SHA, "2026-11-22", "web-1", 5, 9
)
ENTRY = Entry(BATCH, (PART,), ("18ec75ab86f33363-0e388007",), 17)
SEALED = Sealed(7, (b'{"record":"quiet"}', "{é}".encode()), "note\n\n— x y\n", 300, 99)


def test_keys() -> None:
    """As docs/format/bucket.md has them."""
    assert host_key("web 1", "web-1") == "hosts/web%201/web-1"
    assert (
        part_key("web-1", PART.path, SHA) == f"parts/web-1/events/day=2026-11-22/host=web-1/{BATCH}.{SHA}.parquet"
    )
    key = entry_key("web-1", BATCH, Span(5, 255))
    assert key == f"manifest/web-1/{BATCH}.0000000000000005-00000000000000ff.json"
    assert parse_entry_key(key) == (BATCH, Span(5, 255))
    assert (
        sealed_key("web-1", "pythonaudit/web-1/1f", 7) == "seal/web-1/pythonaudit%2Fweb-1%2F1f/0000000000000007.gz"
    )
    assert parse_sealed_key(sealed_key("a", "b", 7)) == 7


@pytest.mark.parametrize(
    "key", ["", "x.json", f"{BATCH}.5-9.json", f"{BATCH}.json", f"m/{BATCH}/x", "0000000000000007"]
)
def test_keys_of_somebody_else(key: str) -> None:
    assert parse_entry_key(key) is None
    assert parse_sealed_key(key) is None


@given(st.text())
def test_every_name_is_one_word(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    name = name_of(text)
    assert "/" not in name and name not in ("", ".", "..") and name.isascii()
    assert text_of(name) == (text if text != "\0" else "")


def test_entries() -> None:
    text = ENTRY.to_json().encode()
    listed = parse_listed(build_listed(text, {"web-1", ""}, ["0a" * 16, "0a" * 16, "1b" * 16]))
    assert listed == Listed(text, ENTRY, frozenset({"web-1", ""}), frozenset({"0a0a0a0a", "1b1b1b1b"}))
    assert parse_listed(build_listed(text, None, None)) == Listed(text, ENTRY)
    many = build_listed(text, map(str, range(MOST_NAMED + 1)), [f"{n:032x}" for n in range(MOST_NAMED)])
    assert parse_listed(many).hosts is None
    assert parse_listed(many).processes == frozenset({"00000000"})


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": "1"},
        {"entry": None},
        {"entry": "{}"},
        {"entry": ENTRY.to_json().replace("host=web-1", "../../..")},
        {"hosts": [1]},
        {"hosts": 7},
        {"processes": [None]},
        {"processes": [[]]},
    ],
)
def test_entries_that_are_none(change: dict[str, object]) -> None:
    said = json.loads(build_listed(ENTRY.to_json().encode(), ["web-1"], ["0a" * 16])) | change
    with pytest.raises(FormatError):
        parse_listed(json.dumps(said).encode())


def test_records() -> None:
    assert parse_sealed(build_sealed(SEALED)) == SEALED
    assert SEALED.end == 9
    assert build_sealed(SEALED) == build_sealed(SEALED)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"first": -1},
        {"first": True},
        {"records": 3},
        {"records": None},
        {"checkpoint": 7},
        {"interval": "5m"},
        {"interval": -1},
        {"sent_ns": None},
        {"sent_ns": 1 << 70},
    ],
)
def test_records_that_are_none(change: dict[str, object]) -> None:
    head, rest = gzip.decompress(build_sealed(SEALED)).split(b"\n", 1)
    said = json.loads(head) | change
    with pytest.raises(FormatError):
        parse_sealed(gzip.compress(json.dumps(said).encode() + b"\n" + rest))


@given(st.binary() | st.binary().map(gzip.compress))
def test_any_bytes(data: bytes) -> None:
    for parse in (parse_sealed, parse_listed):
        with pytest.raises(FormatError):
            parse(data)


def test_every_cut_of_an_object() -> None:
    whole = build_sealed(SEALED)
    for length in range(len(whole)):
        with pytest.raises(FormatError):
            parse_sealed(whole[:length])


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pythonaudit.archive.bucket._MOST_SEALED_BYTES", 1 << 16)
    with pytest.raises(FormatError, match="cut off, or too long"):
        parse_sealed(gzip.compress(bytes(1 << 20)))


@pytest.mark.parametrize(
    ("scope", "has"),
    [
        (Scope(), True),
        (Scope(hosts=("web-*",)), True),
        (Scope(hosts=("db", "web-1")), True),
        (Scope(hosts=("web",)), False),
        (Scope(processes=("0a",)), True),
        (Scope(processes=("0a" * 16,)), True),
        (Scope(processes=("0b",)), False),
    ],
)
def test_scopes(scope: Scope, has: bool) -> None:
    text = ENTRY.to_json().encode()
    assert scope.has_entry(Listed(text, ENTRY, frozenset({"web-1"}), frozenset({"0a0a0a0a"}))) is has
    assert scope.has_entry(Listed(text, ENTRY))  # it does not say
