"""Files of a sealed store removed, replaced and put there; parts changed with all that can be recomputed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pythonaudit.archive import compact as compaction
from pythonaudit.archive import ingest as ingestion
from pythonaudit.archive.manifest import Archive, Entry, parse_entry
from pythonaudit.archive.parts import write_events, write_part
from pythonaudit.errors import StoreError
from pythonaudit.integrity.log import Log
from pythonaudit.integrity.verdicts import Verdict
from pythonaudit.integrity.verify import Anchors
from pythonaudit.integrity.writer import Writer
from pythonaudit.journal import layout
from tests import tampered
from tests.archives import alive, process_of, segments, write
from tests.fault.test_tamper_records import resign

#: Files that may be removed: none of what is sealed is in them.
NOT_SEALED = {"archive/lock", "seal/lock", "keys/private/2"}


@pytest.fixture(scope="module")
def stores() -> Iterator[tuple[Path, Path]]:
    """The store before the last batch, and as it is."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        new = Path(place, "new")
        new.mkdir()
        tampered.build(new)
        old = Path(place, "old")
        shutil.copytree(new, old)
        with tampered.small_log_files():
            write(new, 6)
            tampered.move_ended(new)
            tampered.put_together(new)
            write(new, 7)
            tampered.move_ended(new)
        yield old, new


@pytest.fixture
def store(stores: tuple[Path, Path]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        shutil.copytree(stores[1], Path(place, "store"))
        yield Path(place, "store")


def keyed(directory: Path) -> dict[str, Verdict]:
    """Verdicts against the first key, by subject."""
    report = tampered.check(directory, tampered.first_keys(directory))
    return {verdict.subject: verdict for verdict in report.verdicts}


def bad(directory: Path) -> dict[str, str]:
    """What is not fine, and which verdict is on it."""
    return {subject: one.verdict for subject, one in keyed(directory).items() if not one.is_fine}


def test_each_file_removed(store: Path) -> None:
    keys = tampered.first_keys(store)
    unseen = set()
    for name in tampered.files(store):
        content = (store / name).read_bytes()
        (store / name).unlink()
        if not tampered.is_found(store, keys):
            unseen.add(str(name))
        (store / name).write_bytes(content)
    assert unseen == NOT_SEALED


def test_each_file_of_an_earlier_version(stores: tuple[Path, Path], store: Path) -> None:
    """Put back one by one: those that have changed, and those that had gone."""
    old, new = stores
    keys = tampered.first_keys(new)
    unseen = set()
    for name in tampered.files(old):
        before = (new / name).read_bytes() if (new / name).exists() else None
        content = (old / name).read_bytes()
        if before == content:
            continue
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_bytes(content)
        if not tampered.is_found(store, keys):
            unseen.add(name.parts[1] if before is None else str(name))
        if before is None:
            (store / name).unlink()
        else:
            (store / name).write_bytes(before)
    # Parts that were put together with others are nothing without their entry, nor is that where another replaces it.
    assert unseen == {"events", "stacks", "segments", "manifest"}


def test_rolled_back(stores: tuple[Path, Path]) -> None:
    """The whole store as it was: only a checkpoint tells."""
    old, new = stores
    assert not tampered.is_found(old, tampered.first_keys(new))
    report = tampered.check(old, tampered.newest_checkpoint(new))
    assert report.verdicts[0].verdict == "incomplete"
    assert "are gone: the log ends with record" in report.verdicts[0].reason
    assert not tampered.is_found(new, tampered.newest_checkpoint(old))


def test_the_newest_cut_off(stores: tuple[Path, Path], store: Path) -> None:
    """Everything of the last batch is removed, and the log put back: with a key it passes, with a checkpoint not."""
    old, new = stores
    for part in ("seal", "archive"):
        shutil.rmtree(store / part)
        shutil.copytree(old / part, store / part)
    assert not tampered.is_found(store, tampered.first_keys(new))
    assert tampered.is_found(store, tampered.newest_checkpoint(new))


def test_signed_anew(store: Path) -> None:
    keys, checkpoint = tampered.first_keys(store), tampered.newest_checkpoint(store)
    lines, note = resign(list(Log(store).lines()))
    shutil.rmtree(store / "seal")
    (store / "seal").mkdir()
    Log(store).path(0).write_bytes(b"".join(line + b"\n" for line in lines))
    (store / "seal" / "checkpoint").write_text(note)
    assert not tampered.is_found(store)
    for anchors in (keys, checkpoint):
        whole = tampered.check(store, anchors).verdicts[0]
        assert (whole.verdict, whole.anchor) == ("tampered", "none")


def test_sealing_begun_anew(store: Path) -> None:
    keys = tampered.first_keys(store)
    shutil.rmtree(store / "seal")
    shutil.rmtree(store / "keys")
    tampered.start(store)
    assert not tampered.is_found(store)
    assert tampered.is_found(store, keys)


def test_no_log(store: Path) -> None:
    keys = tampered.first_keys(store)
    shutil.rmtree(store / "seal")
    with pytest.raises(StoreError, match="nothing is sealed"):
        tampered.check(store)
    [verdict] = tampered.check(store, keys).verdicts
    assert verdict.verdict == "incomplete"


def event_part(directory: Path) -> tuple[Entry, Path]:
    """The newest entry of the manifest, and its part of events."""
    entry = Archive(directory).entries()[-1]
    return entry, Archive(directory).path(entry.of("events")[0])


def change(table: pa.Table) -> pa.Table:
    """Other events: somebody else's file was opened."""
    args = [text.replace("/srv/", "/etc/") if text else text for text in table["args"].to_pylist()]
    return table.set_column(table.schema.get_field_index("args"), "args", pa.array(args))


def test_a_part_changed_and_its_entry_recomputed(store: Path) -> None:
    entry, path = event_part(store)
    pq.write_table(change(pq.read_table(path, partitioning=None)), path)
    changed = bad(store)
    part = entry.of("events")[0]
    assert changed[part.path] == changed[process_of(7).hex()] == "tampered"
    digest = sha256(path.read_bytes()).hexdigest()
    again = replace(part, sha256=digest, bytes=path.stat().st_size)
    parts = tuple(again if one == part else one for one in entry.parts)
    (store / "archive" / "manifest" / f"{entry.batch}.json").write_text(replace(entry, parts=parts).to_json())
    assert bad(store) == changed | {f"manifest/{entry.batch}.json": "tampered"}
    assert "its 3 events cannot be told" in keyed(store)[process_of(7).hex()].reason


@pytest.mark.parametrize("key", ["begin_ns", "day", "host", "written_ns"])
def test_what_an_entry_says_beside(store: Path, key: str) -> None:
    """Readers leave out parts by it."""
    path = Archive(store).root / "manifest" / f"{event_part(store)[0].batch}.json"
    said = json.loads(path.read_text())
    place = said if key in said else said["parts"][0]
    place[key] = place[key] + 1 if isinstance(place[key], int) else place[key] + "x"
    path.write_text(json.dumps(said))
    parse_entry(path.read_text())
    assert bad(store) == {tampered.ORIGIN: "tampered", f"manifest/{path.name}": "tampered"}


def test_an_entry_that_no_record_names(store: Path) -> None:
    entry, _ = event_part(store)
    forged = replace(entry, batch="f" * 16 + "-00000000", replaces=())
    (store / "archive" / "manifest" / f"{forged.batch}.json").write_text(forged.to_json())
    assert bad(store) == {tampered.ORIGIN: "tampered", f"manifest/{forged.batch}.json": "tampered"}


def test_files_that_are_nothing_are_told(store: Path) -> None:
    _, path = event_part(store)
    shutil.copy(path, path.with_name("more.parquet"))
    report = tampered.check(store, tampered.first_keys(store))
    assert all(verdict.is_fine for verdict in report.verdicts)
    assert any(line.startswith("files in the archive that no entry names: 1, such as") for line in report.notes)


def test_links_and_directories_in_place_of_files(store: Path) -> None:
    _, path = event_part(store)
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    assert tampered.is_found(store, tampered.first_keys(store))
    path.rmdir()
    path.symlink_to("/nowhere")
    assert tampered.is_found(store, tampered.first_keys(store))
    path.unlink()
    path.write_bytes(content)
    [entry, *_] = (store / "archive" / "manifest").iterdir()
    entry.unlink()
    entry.symlink_to("/nowhere")
    assert tampered.is_found(store, tampered.first_keys(store))


LIES = {
    "changed": change,
    "removed": lambda table: table.slice(1),
    "twice": lambda table: pa.concat_tables([table, table.slice(0, 1)]),
    "instead": lambda table: pa.concat_tables([table.slice(0, len(table) - 1), table.slice(len(table) - 2, 1)]),
    "reordered": lambda table: table.take(pa.array(range(len(table) - 1, -1, -1))),
}


@pytest.mark.parametrize("lie", LIES)
def test_compaction_that_lies(store: Path, monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    """Sealed and signed in order; but the events are not those that were sealed when they were recorded."""

    def write_others(archive: Archive, batch: str, events: pa.Table) -> object:
        return write_events(archive, batch, LIES[lie](events))

    monkeypatch.setattr(compaction, "write_events", write_others)
    tampered.put_together(store)
    # The order of rows tells nothing: an event has its number.
    assert tampered.is_found(store, tampered.first_keys(store)) == (lie != "reordered")


def test_events_put_into_the_archive_while_it_is_sealed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_more(archive: Archive, batch: str, events: pa.Table) -> object:
        other = events.slice(0, 1)
        column = pa.array(["f" * 32]).dictionary_encode()
        other = other.set_column(other.schema.get_field_index("process"), "process", column)
        return write_events(archive, batch, pa.concat_tables([events, other]).unify_dictionaries())

    monkeypatch.setattr(ingestion, "write_events", write_more)
    write(store, 8)
    tampered.move_ended(store)
    reason = keyed(store)[tampered.ORIGIN].reason
    assert "has 1 events of a segment that no record puts there" in reason


def test_a_row_of_a_segment_that_lies(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_others(archive: Archive, table: str, path: str, rows: pa.Table, **more: object) -> object:
        if table == "segments":
            column = pa.array(["clean end"] * len(rows))
            rows = rows.set_column(rows.schema.get_field_index("state"), "state", column)
        return write_part(archive, table, path, rows, **more)

    monkeypatch.setattr(compaction, "write_part", write_others)
    tampered.put_together(store)
    assert keyed(store)[process_of(2).hex()].reason.startswith("segment 0: its row in segments/")


def test_the_last_batch_removed_and_ingest_run_again(store: Path) -> None:
    """The entry and the parts are gone, and whoever seals next takes them for what a killed writer left."""
    entry, _ = event_part(store)
    for path in (*map(Archive(store).path, entry.parts), store / "archive" / "manifest" / f"{entry.batch}.json"):
        path.unlink()
    wanted = {tampered.ORIGIN: "incomplete", process_of(7).hex(): "incomplete"}
    assert bad(store) == wanted | {f"manifest/{entry.batch}.json": "incomplete"}
    write(store, 8)
    tampered.move_ended(store)
    assert bad(store) == wanted
    assert (
        "3 sealed events are neither in the journal nor in the archive" in keyed(store)[process_of(7).hex()].reason
    )


def live(directory: Path, sequence: int) -> Path:
    [path] = [path for path in segments(directory) if path.name.endswith(f"{sequence}.pyaudit")]
    return path


def test_segments_of_the_journal(store: Path) -> None:
    running = process_of(5).hex()
    path = live(store, 1)
    content = path.read_bytes()
    shutil.copy(path, path.with_name("0" * 16 + path.name[16:]))
    assert "segment 1 is in the journal twice" in keyed(store)[running].reason
    path.with_name("0" * 16 + path.name[16:]).unlink()
    write(store, 5, 1, 4, state=layout.STATE_OPEN, number=3, **alive())  # one of the sealed events is cut off
    assert "1 of 2 are not there" in keyed(store)[running].reason
    assert bad(store)[running] == "incomplete"
    write(store, 5, 1, 6, state=layout.STATE_OPEN, number=4, **alive())  # one is put before them
    assert bad(store)[running] == "tampered"
    path.write_bytes(b"nothing")
    assert "no journal segment" in keyed(store)[running].reason
    os.unlink(path)
    path.mkdir()
    assert bad(store)[running] == "incomplete"
    path.rmdir()
    path.write_bytes(content)
    assert bad(store) == {}
    write(store, 9)  # not sealed yet
    report = tampered.check(store, tampered.first_keys(store))
    assert all(verdict.is_fine for verdict in report.verdicts)
    assert (report.unsealed, report.unsealed_segments) == (4, 2)
    shutil.rmtree(store / "journal")
    assert bad(store)[running] == "incomplete"


def test_what_was_lost_with_a_record(store: Path) -> None:
    writer = Writer(store)
    path = live(store, 1)
    with writer.lock() as state:
        key = process_of(5).hex(), path.stat().st_uid
        about = {"process": key[0], "sequence": 1, "uid": key[1]}
        writer.append("gone", **about, events=5, reason="evicted", previous=state.previous[key])
        writer.append(
            "dropped", batches=[event_part(store)[0].batch], events=3, begin_ns=0, end_ns=1, rule="age", parts=[]
        )
        writer.checkpoint()
    path.unlink()
    entry, _ = event_part(store)
    for gone in (*map(Archive(store).path, entry.parts), store / "archive" / "manifest" / f"{entry.batch}.json"):
        assert bad(store) == {}
        gone.unlink()
    assert bad(store) == {}
    found = keyed(store)
    assert found[process_of(5).hex()].reason == "5 events gone before they were archived, as records say"
    assert found[process_of(7).hex()].reason == "3 events dropped by retention, as records say"


def test_a_log_without_its_files(store: Path) -> None:
    for _, path in Log(store).files():
        path.unlink()
    found = tampered.check(store, Anchors()).verdicts
    assert found[0].verdict == "incomplete"
    assert {one.verdict for one in found[1:]} == {"incomplete"}
