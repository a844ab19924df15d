"""A stranger's verifier agrees with what we seal, and finds what is changed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pythonaudit.archive.manifest import Archive
from pythonaudit.integrity import merkle, notes
from pythonaudit.integrity.log import Log
from pythonaudit.integrity.writer import Writer
from pythonaudit.journal import layout
from tests import sealed
from tests.archives import move
from tests.conformance import stranger_hashes, stranger_seal
from tests.conformance.stranger_seal import Store, Verdict
from tests.conformance.test_stranger import PROGRAM
from tests.conftest import Installed


class KilledError(Exception):
    """Where a process was killed."""


def killed(*_: object, **__: object) -> None:
    raise KilledError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A store with a history: three epochs, compaction, a live segment, and one that is partly sealed."""
    directory = tmp_path_factory.mktemp("made")
    sealed.hostile(8, sealed.NEXT_DAY_NS).save(directory)
    move(directory)  # before sealing began
    keys = sealed.build_store(directory)
    sealed.hostile(9).save(directory, state=layout.STATE_OPEN)
    sealed.seal_open(directory)
    return directory, keys


@pytest.fixture
def store(made: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(made[0], tmp_path / "store"))


def verdict(directory: Path, *keys: str, checkpoint: str | None = None) -> Verdict:
    return Store(directory).verify(keys, checkpoint)


def test_made_store(made: tuple[Path, list[str]]) -> None:
    directory, keys = made
    found = verdict(directory, keys[0])
    assert (found.word, found.tampered, found.incomplete) == ("intact", [], [])
    assert found.events == 29 * 5
    assert verdict(directory, keys[2]).word == "intact"
    assert verdict(directory).word == "self-consistent"
    assert verdict(directory, checkpoint=Log(directory).read_checkpoint()).word == "intact"
    assert verdict(directory, notes.PrivateKey.generate(sealed.ORIGIN).public.vkey).word == "tampered"


@pytest.mark.parametrize("settings", [{}, {"PYTHONAUDIT_EVENTS": "all", "PYTHONAUDIT_REVEAL": "code"}], ids=str)
def test_real_stores(installed: Installed, settings: dict[str, str]) -> None:
    """Threads, forks, interpreters, contexts, revealed code: live, closed, archived, rotated, put together."""
    directory = installed.new_directory()
    key = sealed.start_sealing(directory)
    installed.record(PROGRAM, directory=directory, settings=settings)
    count = sealed.seal_open(directory)
    assert count > 1000
    assert verdict(directory, key).word == "intact"
    sealed.archive(directory)
    sealed.rotate(directory)
    installed.record(PROGRAM, directory=directory, settings=settings)
    sealed.archive(directory)
    found = verdict(directory, key)
    assert (found.word, found.tampered, found.incomplete) == ("intact", [], [])
    assert found.events > 2 * count - 100
    sealed.put_together(directory)
    again = verdict(directory, key)
    assert (again.word, again.tampered, again.events) == ("intact", [], found.events)


def test_what_is_killed_is_no_change(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each state that section 9 allows."""
    sealed.hostile(9).save(store)
    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(Archive, "commit", killed)
        sealed.archive(store)
    assert verdict(store).word == "self-consistent"  # the last batch has no entry
    sealed.hostile(10).save(store)
    sealed.archive(store)
    assert "void" in [json.loads(line)["record"] for line in Log(store).lines()]
    assert verdict(store).word == "self-consistent"
    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(Archive, "commit", killed)
        sealed.put_together(store)
    assert verdict(store).word == "self-consistent"
    sealed.put_together(store)
    assert verdict(store).word == "self-consistent"
    writer = Writer(store)
    with writer.lock():
        writer.append("quiet")  # no checkpoint covers it
    with max((store / "seal").glob("*.jsonl")).open("ab") as file:
        file.write(b'{"record":"qui')
    assert verdict(store).word == "self-consistent"


@pytest.mark.parametrize("step", ["_sign", "destroy", "_close", "new"])
def test_epochs_that_were_ended_by_a_kill(store: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    writer = Writer(store)
    with writer.lock():
        if step == "new":  # the record `closed` is there, and nothing covers it
            writer.rotate()
        else:
            monkeypatch.setattr(writer.keys if step == "destroy" else writer, step, killed)
            with pytest.raises(KilledError):
                writer.rotate()
    assert verdict(store).tampered == []
    with Writer(store).lock():
        pass
    later = Writer(store)
    with later.lock():
        later.append("quiet")
        later.checkpoint()
    found = verdict(store)
    assert (found.word, found.tampered) == ("self-consistent", [])


def test_a_chain_begins_anew(store: Path, made: tuple[Path, list[str]]) -> None:
    (store / "keys" / "private" / "2").unlink()
    writer = Writer(store)
    writer.begin_again()
    assert writer.state.public
    new = writer.state.public.vkey
    assert verdict(store, made[1][0], new).word == "intact"
    assert verdict(store, made[1][0]).tampered == [
        "a chain of keys begins with epoch 3, and no key of it was given"
    ]


# -- what somebody changes


def part(store: Path, table: str, which: int = -1) -> Path:
    return sorted((store / "archive" / table).rglob("*.parquet"), key=lambda path: path.name)[which]


def rewrite(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Other rows in a part, and the manifest says its digest."""
    table = pq.read_table(path, partitioning=None)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path, store_schema=False)
    root = next(parent for parent in path.parents if parent.name == "archive")
    for entry in (root / "manifest").glob("*.json"):
        said = json.loads(entry.read_text())
        for one in said["parts"]:
            if root / one["path"] == path:
                data = path.read_bytes()
                one |= {"sha256": sha256(data).hexdigest(), "bytes": len(data), "rows": len(rows)}
        entry.write_text(json.dumps(said))


def sign_anew(store: Path) -> None:
    """Whoever has the key of today makes the log agree with the manifest, from its first record on."""
    lines = list(Log(store).lines())
    parts = {
        one["path"]: {name: one[name] for name in ("path", "rows", "bytes", "sha256")}
        for entry in (store / "archive" / "manifest").glob("*.json")
        for one in json.loads(entry.read_text())["parts"]
    }
    for number, line in enumerate(lines):
        record = json.loads(line)
        if record["record"] == "batch":
            record["parts"] = [parts.get(one["path"], one) for one in record["parts"]]
            lines[number] = json.dumps(record, separators=(",", ":")).encode()
    root = merkle.find_root([merkle.hash_leaf(line) for line in lines])
    [path] = (store / "seal").glob("*.jsonl")
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    [private] = (store / "keys" / "private").iterdir()
    key = notes.PrivateKey(sealed.ORIGIN, private.read_bytes())
    text = notes.build_checkpoint(sealed.ORIGIN, len(lines), root)
    (store / "seal" / "checkpoint").write_text(key.sign(text))


def test_every_column_that_is_sealed(store: Path) -> None:
    """A part is changed, and its digest everywhere; only the hashes of events and segments are left to tell."""
    columns = {
        "events": ("time", "nanosecond", "event", "source", "args", "thread", "context", "slot", "number", "tid"),
        "stacks": ("line", "file", "function"),
        "segments": (
            "host",
            "pid",
            "argv",
            "cwd",
            "attributes",
            "begin_ns",
            "events",
            "canary",
            "losses",
            "state",
        ),
    }
    for table, names in columns.items():
        path = part(store, table)
        before = path.read_bytes()
        entries = {entry: entry.read_text() for entry in (store / "archive" / "manifest").glob("*.json")}
        log = {file: file.read_bytes() for file in (store / "seal").iterdir()}
        for name in names:

            def change(rows: list[dict[str, Any]], name: str = name) -> None:
                row = next(row for row in rows if row[name] is not None or name == "losses")
                old = row[name]
                if isinstance(old, bool):
                    row[name] = not old
                elif isinstance(old, int):
                    row[name] = old + 1
                elif old is None or isinstance(old, str):
                    row[name] = (old or "") + "x"
                else:
                    row[name] = old.replace(microsecond=(old.microsecond + 1) % 1000000)

            rewrite(path, change)
            sign_anew(store)
            found = verdict(store)
            closed = [text for text in found.tampered if "its checkpoint is of other records" in text]
            others = [text for text in found.tampered if text not in closed]
            assert others and "makes no sense" not in others[0], (table, name)
            path.write_bytes(before)
            for file, text in entries.items():
                file.write_text(text)
            for file, data in log.items():
                file.write_bytes(data)
    assert verdict(store).tampered == []


def test_the_key_of_today_signs_nothing_of_yesterday(store: Path) -> None:
    rewrite(part(store, "events", 0), lambda rows: rows.pop())
    sign_anew(store)
    found = verdict(store)
    assert any("its checkpoint is of other records" in text for text in found.tampered)


@pytest.mark.parametrize("table", ["events", "stacks", "segments"])
def test_parts(store: Path, table: str) -> None:
    path = part(store, table)
    data = path.read_bytes()
    path.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    assert verdict(store).tampered == [f"{path.relative_to(store / 'archive')}: is not as it was sealed"]
    path.unlink()
    found = verdict(store)
    assert (found.word, found.incomplete[0]) == (
        "incomplete",
        f"{path.relative_to(store / 'archive')}: is not there",
    )


def test_the_manifest(store: Path) -> None:
    manifest = store / "archive" / "manifest"
    entries = sorted(manifest.glob("*.json"))
    texts = [entry.read_text() for entry in entries]
    entries[0].unlink()
    assert verdict(store).word == "incomplete"
    entries[0].write_text(texts[0].replace('"rows": ', '"rows": 1'))
    assert verdict(store).word == "tampered"
    entries[0].write_text(texts[0])
    assert verdict(store).word == "self-consistent"
    other = "f" * 16 + "-00000000"
    (manifest / f"{other}.json").write_text(json.dumps(json.loads(texts[0]) | {"batch": other}))
    assert verdict(store).tampered == [f"{other}: no record names this batch"]


def test_the_log(store: Path, made: tuple[Path, list[str]]) -> None:
    [path] = (store / "seal").glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    for number in range(len(lines)):
        without, twice = lines[:number] + lines[number + 1 :], lines[: number + 1] + lines[number:]
        for changed in (without, twice) if number < len(lines) - 1 else (without,):  # behind: not covered
            path.write_bytes(b"".join(changed))
            assert verdict(store, made[1][0]).word in ("tampered", "incomplete"), number
        line = lines[number].replace(b'"time_ns":1', b'"time_ns":2')
        path.write_bytes(b"".join([*lines[:number], line, *lines[number + 1 :]]))
        assert verdict(store, made[1][0]).word == "tampered"
    path.write_bytes(b"".join(lines))
    checkpoint = (store / "seal" / "checkpoint").read_text()
    for at in range(len(checkpoint)):
        changed_note = checkpoint[:at] + chr(ord(checkpoint[at]) ^ 1) + checkpoint[at + 1 :]
        (store / "seal" / "checkpoint").write_text(changed_note)
        assert verdict(store).word in ("tampered", "incomplete"), at


def test_an_earlier_state_needs_a_checkpoint_from_outside(store: Path) -> None:
    """Everything is put back as it was: only who kept a checkpoint or saw the log grow can tell."""
    before = Path(shutil.copytree(store, store.parent / "before"))
    early = Log(store).read_checkpoint()
    sealed.hostile(11).save(store)
    sealed.archive(store)
    late = Log(store).read_checkpoint()
    assert verdict(store, checkpoint=early).word == verdict(store, checkpoint=late).word == "intact"
    assert verdict(before).word == "self-consistent"
    found = verdict(before, checkpoint=late)
    assert (found.word, found.incomplete) == (
        "incomplete",
        ["the checkpoint that was given covers more than is there"],
    )


def test_the_journal(store: Path) -> None:
    [path] = (store / "journal").rglob("*.pyaudit")
    data = path.read_bytes()
    assert data.count(b"/etc/passwd") == 1
    path.write_bytes(data.replace(b"/etc/passwd", b"/etc/shadow"))
    assert [text.partition(": ")[2] for text in verdict(store).tampered] == [
        "its events are not as they were sealed"
    ]
    path.write_bytes(data.replace(b'"web-1"', b'"web-2"'))
    assert [text.partition(": ")[2] for text in verdict(store).tampered] == ["was sealed as of another process"]
    path.unlink()
    assert verdict(store).word == "incomplete"


def test_the_stranger_shares_nothing_with_us() -> None:
    for module in (stranger_seal, stranger_hashes):
        assert "pythonaudit" not in Path(module.__file__ or os.devnull).read_text().replace("PYTHONAUDIT_DIR", "")
