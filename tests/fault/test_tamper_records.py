"""Records of a log removed, put elsewhere, twice there, or put in between; keys and checkpoints forged."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pythonaudit.errors import FormatError
from pythonaudit.integrity import merkle, notes
from pythonaudit.integrity.log import Log, build_record, parse_record
from pythonaudit.integrity.verify import Anchors, Checker
from pythonaudit.integrity.writer import Writer
from tests import tampered

NOTHING: dict[str, Any] = {"batches": [], "segments": 0}
QUIET = build_record({"record": "quiet", "time_ns": 1})


@pytest.fixture(scope="module")
def store() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        tampered.build(Path(place))
        yield Path(place)


@pytest.fixture(scope="module")
def lines(store: Path) -> list[bytes]:
    return list(Log(store).lines())


@pytest.fixture(scope="module")
def check(store: Path) -> Callable[..., list[str]]:
    note, keys = Log(store).read_checkpoint(), tampered.first_keys(store)

    def found(lines: list[bytes], anchors: Anchors = keys, note: str | None = note) -> list[str]:
        content = b"".join(line + b"\n" for line in lines)
        return [one.reason for one in tampered.check_log({0: content}, note, anchors)]

    assert found(list(Log(store).lines())) == []
    return found


Check = Callable[..., list[str]]


def test_each_record_removed(lines: list[bytes], check: Check) -> None:
    assert [at for at in range(len(lines)) if not check(lines[:at] + lines[at + 1 :])] == []


def test_each_record_swapped_with_the_next(lines: list[bytes], check: Check) -> None:
    unseen = []
    for at in range(len(lines) - 1):
        swapped = [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]
        if not check(swapped):
            unseen.append(at)
    assert unseen == []


def test_each_record_twice(lines: list[bytes], check: Check) -> None:
    unseen = [at for at in range(len(lines)) if not check([*lines[: at + 1], *lines[at:]])]
    assert unseen == [len(lines) - 1]  # behind the last that a checkpoint covers: it does not count


@pytest.mark.parametrize("line", [QUIET, b"", b"[]", b'{"record":"void","time_ns":1,"batch":"x"}'], ids=repr)
def test_a_record_put_in_between(lines: list[bytes], check: Check, line: bytes) -> None:
    unseen = [at for at in range(len(lines)) if not check([*lines[:at], line, *lines[at:]])]
    assert unseen == []
    assert check([*lines, line]) == []  # no checkpoint covers it: it does not count


def test_cut_off(lines: list[bytes], check: Check, store: Path) -> None:
    assert [size for size in range(len(lines)) if not check(lines[:size])] == []
    for size in range(len(lines)):
        assert check(lines[:size], tampered.newest_checkpoint(store))


def test_what_a_good_signature_covers_stays_proved(lines: list[bytes], store: Path) -> None:
    """A record at the end is changed: the last checkpoint of the epoch before vouches for all before it."""
    closed = [at for at, line in enumerate(lines) if parse_record(line)["record"] == "closed"]
    checker = Checker(Log(store).read_checkpoint(), tampered.first_keys(store))
    for number, line in enumerate([*lines[:-1], QUIET]):
        checker.add(number, line)
    checked = checker.finish()
    assert checked.proved == checked.by_key == closed[-1]
    assert (
        f"records {closed[-1]} to {len(lines) - 1} are not those that were signed" in checked.findings[-1].reason
    )


def test_a_gap_is_named(store: Path) -> None:
    contents = tampered.read_log(store)
    second, third = list(contents)[1:3]
    del contents[second]
    findings = tampered.check_log(contents, Log(store).read_checkpoint(), tampered.first_keys(store))
    assert (findings[0].verdict, findings[0].reason) == (
        "incomplete",
        f"records {second} to {third - 1} are not there",
    )


def resign(
    lines: list[bytes], change: Callable[[int, dict[str, Any]], None] | None = None
) -> tuple[list[bytes], str]:
    """The same records under other keys, and their checkpoint: what somebody can make who has all public data."""
    made: list[bytes] = []
    keys: list[notes.PrivateKey] = []
    tree = merkle.Tree()
    for number, line in enumerate(lines):
        record = parse_record(line)
        if record["record"] == "key":
            keys.append(notes.PrivateKey.generate(tampered.ORIGIN))
            text = notes.build_key(keys[-1].public, record["epoch"])
            record["note"] = keys[-2 if len(keys) > 1 else -1].sign(text)
        elif record["record"] == "closed" and len(keys) > 1:
            record["note"] = keys[-2].sign(notes.build_checkpoint(tampered.ORIGIN, tree.size, tree.root()))
        if change:
            change(number, record)
        made.append(build_record(record))
        tree.add(merkle.hash_leaf(made[-1]))
    return made, keys[-1].sign(notes.build_checkpoint(tampered.ORIGIN, tree.size, tree.root()))


def test_signed_anew(lines: list[bytes], check: Check, store: Path) -> None:
    made, note = resign(lines)
    assert check(made, Anchors(), note) == []  # no anchor: it agrees with itself
    [reason] = check(made, tampered.first_keys(store), note)
    assert "no key of this log is the given one" in reason
    [reason] = check(made, tampered.newest_checkpoint(store), note)
    assert "is not signed by this log's key of that time" in reason


def test_signed_anew_and_changed(lines: list[bytes], check: Check) -> None:
    """What records say must agree with each other, whoever signed them."""

    def change(number: int, record: dict[str, Any]) -> None:
        if record["record"] == "events":
            record["root"] = "0" * 64

    made, note = resign(lines, change)
    assert any("does not follow record" in reason for reason in check(made, Anchors(), note))


def test_another_key_in_the_chain(lines: list[bytes], check: Check, store: Path) -> None:
    """From a change of keys on, somebody signs with his own: the key before did not introduce it."""
    made, note = resign(lines)
    second = [at for at, line in enumerate(lines) if parse_record(line)["record"] == "key"][1]
    mixed = lines[:second] + made[second:]
    found = check(mixed, tampered.first_keys(store), note)
    assert any(f"key of epoch 1 (record {second}): not signed by" in reason for reason in found)


def test_a_chain_that_begins_anew(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.begin(tampered.ORIGIN, "0", NOTHING)
    with writer.lock():
        writer.append("quiet")
        writer.checkpoint()
    first = tampered.first_keys(tmp_path)
    before = tampered.newest_checkpoint(tmp_path)
    (tmp_path / "keys" / "private" / "0").unlink()
    Writer(tmp_path).begin_again()
    last = parse_record(list(Log(tmp_path).lines())[-1])
    second = notes.parse_key(notes.split_note(last["note"])[0])[1]

    def found(anchors: Anchors) -> list[str]:
        return [
            one.reason
            for one in tampered.check_log(tampered.read_log(tmp_path), Log(tmp_path).read_checkpoint(), anchors)
        ]

    assert found(Anchors()) == []
    assert found(Anchors((*first.keys, second))) == []
    assert found(Anchors((second,))) == []  # it covers all that was before
    for anchors in (first, before):
        [reason] = found(anchors)
        assert reason == "a chain of keys begins anew with epoch 1 (record 4), and no given key vouches for it"
    assert found(Anchors((second,), before.checkpoints)) == []


def test_forged_checkpoints(lines: list[bytes], check: Check, store: Path) -> None:
    forger = notes.PrivateKey.generate(tampered.ORIGIN)
    tree = merkle.Tree()
    for line in lines:
        tree.add(merkle.hash_leaf(line))
    size, root = tree.size, tree.root()
    real = Log(store).read_checkpoint()
    assert real
    for said in ((size, root), (size + 1, root), (size - 1, root), (0, merkle.EMPTY)):
        assert check(
            lines, tampered.first_keys(store), forger.sign(notes.build_checkpoint(tampered.ORIGIN, *said))
        )
        assert check(lines, Anchors(checkpoints=(forger.sign(notes.build_checkpoint(tampered.ORIGIN, *said)),)))
    other = notes.PrivateKey.generate("other/log")
    outside = Anchors(checkpoints=(other.sign(notes.build_checkpoint("other/log", size, root)),))
    assert check(lines, outside) == [f"the given checkpoint of {size} records is of another log, other/log"]
    assert "several signatures" in check(lines, note=real + real.splitlines()[-1] + "\n")[0]
    assert check(lines, note=None)[0].startswith("there is no checkpoint")
    assert check(lines, note="")[0].startswith("the checkpoint cannot be read")
    with pytest.raises(FormatError):
        check(lines, Anchors(checkpoints=("x",)))


def test_a_checkpoint_that_was_put_back(lines: list[bytes], check: Check, store: Path) -> None:
    """An earlier one of the log itself, whose records are all there."""
    closed = [record["note"] for record in map(parse_record, lines) if record["record"] == "closed"]
    found = check(lines, Anchors(), closed[0])
    assert any("it was replaced" in reason for reason in found)
    found = check(lines, tampered.newest_checkpoint(store), closed[-1])
    assert any("less than the given checkpoint" in reason for reason in found)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("begin", "format", 2),
        ("begin", "origin", "a b"),
        ("key", "epoch", 7),
        ("key", "note", ""),
        ("closed", "epoch", 7),
        ("closed", "note", []),
        ("events", "process", "x"),
        ("events", "sequence", -1),
        ("events", "uid", True),
        ("events", "runs", []),
        ("events", "runs", [[1, 0]]),
        ("events", "runs", [[1, 0, 0]]),
        ("events", "runs", [[1, 1 << 64, 3]]),
        ("events", "runs", [[1, 5, 1], [1, 0, 2]]),
        ("events", "events", 1),
        ("events", "root", "x"),
        ("events", "identity", None),
        ("events", "previous", "0" * 64),
        ("segment", "events", 2),
        ("segment", "row", 5),
        ("segment", "batch", {}),
        ("found", "batches", 5),
        ("found", "batches", [{}]),
        ("found", "segments", "x"),
        ("batch", "parts", [[]]),
        ("batch", "replaces", ["nothing"]),
        ("batch", "entry", "x"),
        ("batch", "time_ns", 1),
    ],
)
def test_records_that_make_no_sense(lines: list[bytes], check: Check, kind: str, key: str, value: Any) -> None:
    """Also where they are signed: nothing but findings comes of them."""
    last = max(at for at, line in enumerate(lines) if parse_record(line)["record"] == kind)

    def change(number: int, record: dict[str, Any]) -> None:
        if number == last:
            record[key] = value

    made, note = resign(lines, change)
    assert check(made, Anchors(), note)


def test_other_records_that_make_no_sense(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.begin(tampered.ORIGIN, "0", NOTHING)
    with writer.lock():
        batch = {"parts": [], "entry": "0" * 64}
        about = {"process": "0" * 32, "sequence": 0, "uid": 0}
        run = {"identity": "0" * 64, "root": "0" * 64, "runs": [[0, 5, 5]], "events": 5}
        writer.append("batch", batch="a", replaces=[], **batch)
        writer.append("batch", batch="b", replaces=["a"], **batch)
        writer.append("events", **about, **run, previous=None)
        writer.append("unknown", anything=[1])
        writer.checkpoint()
    good = list(Log(tmp_path).lines())
    previous = merkle.hash_leaf(good[-2]).hex()
    bad = [
        {"record": "batch", "batch": "b", "replaces": [], **batch},
        {"record": "batch", "batch": "c", "replaces": ["a"], **batch},
        {"record": "void", "batch": "a"},
        {"record": "dropped", "batches": ["a"], "events": 0},
        {"record": "dropped", "batches": ["z"], "events": 0},
        {"record": "begin", "format": 1, "origin": tampered.ORIGIN},
        {"record": "closed", "epoch": 0, "note": "x"},
        {"record": "events", **about, **run, "previous": None},
        {"record": "events", **about, **run, "previous": previous},
        {"record": "gone", **about, "events": 5, "reason": "missing", "previous": previous},
    ]

    def found(lines: list[bytes]) -> list[str]:
        made, note = resign(lines)
        content = b"".join(line + b"\n" for line in made)
        return [one.reason for one in tampered.check_log({0: content}, note, Anchors())]

    assert found(good) == []
    for record in bad:
        assert found([*good, json.dumps({**record, "time_ns": 1 << 62}).encode()]), record
    assert found([*good, json.dumps({"record": "void", "batch": "b", "time_ns": 1 << 62}).encode()]) == []
    evicted = {
        "record": "gone",
        **about,
        "events": 5,
        "reason": "evicted",
        "previous": previous,
        "time_ns": 1 << 62,
    }
    assert found([*good, json.dumps(evicted).encode()]) == []
