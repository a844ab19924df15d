"""The manifest: what counts, and what hostile or damaged entries cost."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pythonaudit.archive.manifest import Archive, Entry, Part, parse_entry
from pythonaudit.errors import FormatError, StoreError

DIGEST = "0" * 64
BATCH = "0000000000000001-00000000"
EVENTS = Part("events", "events/day=2026-11-22/host=web-1/b.parquet", 3, 4, DIGEST, "2026-11-22", "web-1", 5, 6)
STACKS = Part("stacks", "stacks/b.parquet", 1, 2, DIGEST)


def said(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(Entry(BATCH, (EVENTS, STACKS), (), 7).to_json())
    return whole | changes


def part(**changes: Any) -> dict[str, Any]:
    whole = said()
    whole["parts"][0] |= changes
    return whole


def test_an_entry_reads_as_it_was_written() -> None:
    entry = Entry(BATCH, (EVENTS, STACKS), ("0000000000000000-12345678",), 7)
    assert parse_entry(entry.to_json()) == entry
    assert [one.path for one in entry.of("stacks")] == ["stacks/b.parquet"]


def test_unknown_keys_are_left_aside() -> None:
    assert parse_entry(json.dumps(part(colour="red") | {"more": [1]})) == Entry(BATCH, (EVENTS, STACKS), (), 7)


HOSTILE = {
    "no object": [],
    "null": None,
    "empty": {},
    "later format": said(format=2),
    "format is text": said(format="1"),
    "infinite time": said(written_ns=float("inf")),
    "time is a truth value": said(written_ns=True),
    "batch is no name": said(batch="../../keys"),
    "batch is a number": said(batch=1),
    "replaces no names": said(replaces=["x"]),
    "replaces lists": said(replaces=[[]]),
    "parts are texts": said(parts=["x"]),
    "path leads out": part(path="events/../../keys/private.parquet"),
    "path is absolute": part(path="/etc/passwd"),
    "path with a dot": part(path="events/./x.parquet"),
    "path of another table": part(path="stacks/x.parquet"),
    "path of no part": part(path="events/x"),
    "path with nothing in between": part(path="events//x.parquet"),
    "path with a nul": part(path="events/\0.parquet"),
    "path with a line end": part(path="events/x.parquet\n"),
    "path with half a character": part(path="events/\ud800.parquet"),
    "path is a number": part(path=1),
    "unknown table": part(table="keys"),
    "rows are text": part(rows="3"),
    "fewer than no rows": part(rows=-1),
    "no digest": part(sha256="x"),
    "day is a number": part(day=1),
    "no host": part(host=None),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_entries_are_refused(what: str) -> None:
    with pytest.raises(FormatError):
        parse_entry(json.dumps(HOSTILE[what]))


@given(st.text())
def test_any_text(text: str) -> None:
    with pytest.raises(FormatError):
        parse_entry(text)


def test_deep_json_is_refused() -> None:
    with pytest.raises(FormatError):
        parse_entry("[" * 100_000)


def write(archive: Archive, name: str, content: str) -> None:
    place = archive.root / "manifest"
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_text(content)


def entry(number: int, *replaces: int) -> Entry:
    return Entry(f"{number:016x}-00000000", (), tuple(f"{one:016x}-00000000" for one in replaces), 0)


def test_no_archive_is_an_empty_one(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    assert (archive.entries(), archive.problems(), archive.exists) == ([], [], False)


def test_what_cannot_be_read_costs_its_batch(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    write(archive, f"{entry(1).batch}.json", entry(1).to_json())
    write(archive, f"{entry(2).batch}.json", "{")
    write(archive, f"{entry(3).batch}.json", entry(4).to_json())
    (archive.root / "manifest" / f"{entry(5).batch}.json").symlink_to("nowhere")
    (archive.root / "manifest" / f"{entry(6).batch}.json").mkdir()
    (archive.root / "manifest" / "notes.txt").touch()
    assert archive.entries() == [entry(1)]
    assert len(archive.problems()) == 4


def test_replaced_batches_do_not_count(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for one in (entry(1), entry(2), entry(3, 1, 2), entry(4), entry(5, 3, 4)):
        write(archive, f"{one.batch}.json", one.to_json())
    assert [one.batch for one in archive.entries()] == [entry(5).batch]


def test_sweeping_removes_what_nobody_names(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    with archive.lock():
        named = archive.path(STACKS)
        named.parent.mkdir()
        for name in ("b.parquet", "old.parquet", "half.parquet.new", "README"):
            (named.parent / name).touch()
        write(archive, "half.json.new", "")
        write(archive, f"{entry(1).batch}.json", entry(1).to_json())
        archive.commit(Entry(BATCH.replace("1-", "9-"), (STACKS,), (entry(1).batch,), 0))
    assert sorted(os.listdir(named.parent)) == ["README", "b.parquet"]
    assert os.listdir(archive.root / "manifest") == [BATCH.replace("1-", "9-") + ".json"]


def test_nothing_is_swept_where_an_entry_cannot_be_read(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    write(archive, f"{entry(1).batch}.json", json.dumps(said(format=2)))
    part_of_it = archive.path(STACKS)
    part_of_it.parent.mkdir()
    part_of_it.touch()
    with archive.lock():
        archive.sweep()
    assert part_of_it.exists()


def test_batches_come_in_order_although_the_clock_does_not(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    later = entry(1 << 62)
    write(archive, f"{later.batch}.json", later.to_json())
    assert later.batch < archive.new_batch()


def test_an_entry_that_is_replaced_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the listing and the reading, a compaction takes place."""
    archive, other = Archive(tmp_path), Archive(tmp_path)
    for one in (entry(1), entry(2)):
        write(archive, f"{one.batch}.json", one.to_json())
    names = archive._names
    looks = 0

    def listed() -> list[str]:
        nonlocal looks
        looks += 1
        found = names()
        if looks == 1:
            with other.lock():
                other.commit(entry(3, 1, 2))
        return found

    monkeypatch.setattr(archive, "_names", listed)
    assert archive.entries() == [entry(3, 1, 2)]
    assert archive.problems() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_no_permission(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    (archive.root / "manifest").mkdir(parents=True, mode=0)
    with pytest.raises(StoreError, match="Permission denied"):
        archive.entries()
