"""What the log says is held against what is there: a small verifier of its own, for tests of those who change it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pythonaudit.archive import leaves
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.parts import read_part
from pythonaudit.archive.sealer import Sealer, begin
from pythonaudit.integrity import notes
from pythonaudit.integrity.log import Log, parse_record
from pythonaudit.integrity.merkle import find_root, hash_leaf
from pythonaudit.integrity.state import State, key_of
from pythonaudit.integrity.writer import Writer
from pythonaudit.journal.reader import Journal, Key

ORIGIN = "pythonaudit/web-1/1f0a7c3e"


def begin_seal(directory: Path) -> Sealer:
    """Begins a log."""
    writer = Writer(directory)
    begin(writer, Journal(directory), Archive(directory), ORIGIN, "0")
    return Sealer(writer)


def records(directory: Path, *kinds: str) -> list[dict[str, Any]]:
    """The records of the log, or those of some kinds."""
    found = map(parse_record, Log(directory).lines())
    return [record for record in found if not kinds or record["record"] in kinds]


def check_sealed(directory: Path) -> int:
    """The log is consistent, and what the manifest names is what was sealed; how many events these are."""
    state, lines = State(), list(Log(directory).lines())
    for line in lines:
        state.add(line)
    note = Log(directory).read_checkpoint()
    assert note and state.public
    size, root = notes.parse_checkpoint(state.public.open(note), state.origin)
    assert (size, root) == (len(lines), find_root([hash_leaf(line) for line in lines]))
    archive = Archive(directory)
    entries = archive.entries()
    assert {entry.batch for entry in entries} == state.counting
    sealed: dict[Key, list[dict[str, Any]]] = {}
    closed: dict[Key, dict[str, Any]] = {}
    for record in map(parse_record, lines):
        if record["record"] == "events":
            sealed.setdefault(key_of(record), []).append(record)
        elif record["record"] == "segment":
            closed[key_of(record)] = record
    total = 0
    for entry in entries:
        tables = {name: [read_part(archive, part) for part in entry.of(name)] for name in ("events", "stacks")}
        stacks = leaves.stacks_of(tables["stacks"][0]) if tables["stacks"] else None
        for row in (row for part in entry.of("segments") for row in read_part(archive, part).to_pylist()):
            key = row["process"], row["sequence"], row["uid"]
            assert closed[key]["row"] == leaves.hash_row(row)
            assert closed[key]["events"] == row["events"]
            total += check_events([_of(table, key) for table in tables["events"]], stacks, sealed.get(key, []))
    return total


def check_events(tables: list[pa.Table], stacks: leaves.StackHashes | None, sealed: list[dict[str, Any]]) -> int:
    """The events of a segment are those of its records."""
    table = pa.concat_tables(tables) if tables else None
    if table is None or not len(table):
        assert not sealed
        return 0
    assert stacks
    found = leaves.of_table(table.select(leaves.COLUMNS), stacks)
    hashes = dict(zip(zip(found.slot.tolist(), found.number.tolist(), strict=True), found.hashes, strict=True))
    for record in sealed:
        ids = [(slot, first + at) for slot, first, count in record["runs"] for at in range(count)]
        assert find_root([hashes.pop(id_) for id_ in ids]).hex() == record["root"]
    assert not hashes
    return len(table)


def _of(table: pa.Table, key: Key) -> pa.Table:
    process, sequence, uid = key
    wanted = pc.and_(pc.equal(table["process"], process), pc.equal(table["sequence"], sequence))
    return table.filter(pc.and_(wanted, pc.equal(table["uid"], uid)))
