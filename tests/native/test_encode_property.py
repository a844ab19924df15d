"""Any arguments at all: what is written is strict JSON in UTF-8, bounded, and reads back the same."""

from __future__ import annotations

import codecs
import math
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.native.encode_probe import load
from tests.native.json_forms import expected, float_text, parse, same

probe = load()

#: What no secret's name can be made of, and no separator.
HARMLESS = st.characters(blacklist_categories=(), blacklist_characters="=:")
INTEGERS = st.one_of(st.integers(), st.integers(-(2**64), 2**64), st.integers(-(2**1024) + 1, 2**1024 - 1))
FLOATS = st.one_of(st.floats(), st.decimals(-1000, 1000, places=3).map(float))
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS
KEYS = st.text(st.sampled_from('XYZ$\xe9\u20ac\U0001f40d\udc80\n"\\'), max_size=20)


def containers(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def grow(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        lists = st.lists(inner, max_size=8)
        return lists | lists.map(tuple) | st.dictionaries(keys, inner, max_size=8)

    return st.recursive(leaves, grow, max_leaves=20)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, (list, tuple)) else 0


WITHIN_LIMITS = st.lists(
    containers(
        SCALARS
        | st.text(HARMLESS, max_size=60)
        | st.binary(max_size=60).filter(lambda b: not set(b) & set(b"=:")),
        KEYS | SCALARS | st.sampled_from([b"k", b"\xff"]),
    ).filter(lambda value: depth(value) <= probe.DEPTH_MAX),
    max_size=5,
).map(tuple)

ANYTHING = st.lists(
    containers(
        SCALARS
        | st.text(st.characters(blacklist_categories=()))
        | st.binary()
        | st.binary().map(bytearray)
        | st.sampled_from(["x" * 5000, "\x00" * 4000, "\u20ac" * 3000, b"\xff" * 9000, 2**5000, object()]),
        st.text(st.characters(blacklist_categories=())) | SCALARS | st.binary() | st.just("\x01" * 3000),
    ),
    max_size=10,
).map(tuple)

RULES = st.binary(max_size=9).map(lambda rules: bytes(rule % (probe.SECRET + 1) for rule in rules))


def one_by_one(error: UnicodeError) -> tuple[str, int]:
    """U+FFFD for each byte that is not UTF-8, where "replace" takes some together."""
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd", error.start + 1


codecs.register_error("one-by-one", one_by_one)

thorough = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


@thorough
@given(WITHIN_LIMITS)
def test_what_is_within_the_limits_reads_back_the_same(args: tuple[Any, ...]) -> None:
    text, notes, _ = probe.encode(args)
    assert notes == 0
    assert same(parse(text), expected(args))
    orjson.loads(text)


@thorough
@given(ANYTHING, RULES, st.integers(0, 63))
def test_whatever_comes_is_strict_json_and_bounded(args: tuple[Any, ...], rules: bytes, reveal: int) -> None:
    text, _, revealed = probe.encode(args, rules, reveal)
    assert len(text) <= probe.ARGS_MAX
    assert type(parse(text)) is list
    assert type(orjson.loads(text)) is list
    for code in revealed:
        assert len(code) <= probe.REVEALED_MAX
        code.decode()


@thorough
@given(ANYTHING, RULES, st.integers(0, 20000))
def test_too_little_room_gives_nothing_else_the_same(args: tuple[Any, ...], rules: bytes, room: int) -> None:
    whole, notes, _ = probe.encode(args, rules)
    text, notes_in_room, _ = probe.encode(args, rules, 0, room)
    if text is None:
        assert room < probe.ARGS_MAX
        assert notes_in_room == 0
    else:
        assert (text, notes_in_room) == (whole, notes)


@thorough
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_the_shortest_that_read_back(value: float) -> None:
    text = probe.encode((value,))[0].decode()[1:-1]
    assert text == float_text(value)
    assert math.copysign(1, float(text)) == math.copysign(1, value)


@thorough
@given(st.binary(max_size=6000), st.integers(0, 7000))
def test_names_are_valid_and_bounded(name: bytes, room: int) -> None:
    whole, notes = probe.name(name)
    assert len(whole) <= probe.TEXT_MAX
    whole.decode()
    if notes == 0:
        assert whole == name
    text, _ = probe.name(name, room)
    assert text in (None, whole)
    assert text is not None or room < max(len(whole), min(len(name), probe.TEXT_MAX))


@thorough
@given(st.binary())
def test_strings_and_arguments_of_processes_are_strict_json(text: bytes) -> None:
    string, _ = probe.string(text)
    assert parse(string) == text.decode("utf-8", "one-by-one")
    arguments, notes = probe.argv(text)
    if notes == 0:
        wanted = text.removesuffix(b"\0").split(b"\0") if text else []
        assert parse(arguments) == [argument.decode("utf-8", "one-by-one") for argument in wanted]


@pytest.mark.parametrize("room", [0, 1, 32, 33, 34, 100])
def test_the_smallest_rooms(room: int) -> None:
    text, _, _ = probe.encode((), b"", 0, room)
    assert text == (b"[]" if room >= 33 else None)


@given(st.lists(st.binary(max_size=100), max_size=8))
def test_hashing_piece_by_piece_is_hashing_at_once(pieces: list[bytes]) -> None:
    assert probe.xxh64(tuple(pieces)) == probe.xxh64((b"".join(pieces),))


@pytest.mark.parametrize(
    ("data", "value"),
    [  # from the reference implementation
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_known_hashes(data: bytes, value: int) -> None:
    assert probe.xxh64((data,)) == value
