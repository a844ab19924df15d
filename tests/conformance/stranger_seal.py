"""A stranger's verifier of a whole store: written from docs/format/checkpoint.md and docs/format/archive.md alone.

It shares no line with the product, and prefers plain loops to speed. Both are held against real stores.

    python -m tests.conformance.stranger_seal DIR [VKEY...]        prints what is wrong, and a verdict
"""

from __future__ import annotations

import json
import struct
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from tests.conformance.stranger_hashes import (
    WAYS,
    Key,
    LiveSegment,
    PublicKey,
    Row,
    compact,
    hash_event,
    hash_frame,
    hash_identity,
    hash_row,
    key_of,
    open_note,
    parse_checkpoint,
    parse_vkey,
    root_of,
    sha,
)


@dataclass
class Verdict:
    word: str = ""
    tampered: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    events: int = 0


class Store:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.found = Verdict()
        self.lines: list[bytes] = []
        self.hashes: list[bytes] = []
        self.records: list[Row] = []
        self.keys: list[PublicKey] = []
        self.chains: list[int] = []  # epochs that begin one
        self.from_size: list[int] = []  # size of the first checkpoint that the key of each epoch signs
        self.before: set[str] = set()  # batches from before sealing began
        self.made_of: dict[str, set[str]] = {}  # each batch, and all that went into it
        self.dropped: set[str] = set()
        self.sealed: dict[Key, list[Row]] = defaultdict(list)  # records `events`
        self.closed: dict[Key, Row] = {}  # records `segment`
        self.gone: set[Key] = set()

    def tampered(self, text: str) -> None:
        self.found.tampered.append(text)

    def incomplete(self, text: str) -> None:
        self.found.incomplete.append(text)

    def verify(self, keys: tuple[str, ...] = (), checkpoint: str | None = None) -> Verdict:
        """Section 8. `keys` and `checkpoint` are what was given from outside."""
        try:
            self.read_log()
            self.verify_keys()
            self.verify_anchors(keys, checkpoint)
            self.verify_journals()
            batches = self.verify_manifest()
            self.verify_batches(batches)
            self.verify_live()
        except (LookupError, TypeError, ValueError, ArithmeticError, struct.error) as error:
            self.tampered(f"makes no sense: {type(error).__name__}: {error}")
        found = self.found
        found.word = "tampered" if found.tampered else "incomplete" if found.incomplete else ""
        found.word = found.word or ("intact" if keys or checkpoint else "self-consistent")
        return found

    # 1. lines are records

    def read_log(self) -> None:
        files = sorted((self.directory / "seal").glob("*.jsonl"))
        for path in files:
            if path.stem != f"{len(self.lines):016d}":
                self.incomplete(f"{path.name} does not begin where the one before it ends")
            *lines, rest = path.read_bytes().split(b"\n")
            if rest and path != files[-1]:
                self.tampered(f"{path.name} is cut off")
            self.lines += lines
        note = (self.directory / "seal" / "checkpoint").read_text()
        self.newest = note
        _, self.size, root = parse_checkpoint(note.rpartition("\n\n")[0].split("\n"))
        self.hashes = [sha(b"\0" + line) for line in self.lines]
        if self.size > len(self.lines):
            self.incomplete(f"{len(self.lines)} records, where the checkpoint covers {self.size}")
        elif root_of(self.hashes[: self.size]) != root:
            self.tampered("the records are not those that the checkpoint covers")
        self.records = [json.loads(line) for line in self.lines]
        times = [record["time_ns"] for record in self.records]
        if times != sorted(times):
            self.tampered("times of records run backwards")

    # 2. keys and epochs

    def verify_keys(self) -> None:
        begin = self.records[0]
        if begin["record"] != "begin" or begin["format"] != 1 or self.records[1]["record"] != "key":
            raise ValueError("no log of this format")
        self.origin = begin["origin"]
        closing: int | None = None  # epoch whose record `closed` is due
        for number, record in enumerate(self.records):
            kind = record["record"]
            if (kind == "begin") != (number == 0):
                self.tampered(f"record {number}: begins a second time")
            if closing is not None and kind != "closed" and not (kind == "key" and record.get("again")):
                self.tampered(f"record {number}: epoch {closing} has no end")
                closing = None
            if kind == "key":
                closing = self.add_key(number, record)
            if kind == "closed":
                if closing is None or record["epoch"] != closing:
                    self.tampered(f"record {number}: ends no epoch")
                    continue
                origin, size, root = parse_checkpoint(open_note(record["note"], self.keys[closing]))
                if origin != self.origin or size != number or root != root_of(self.hashes[:number]):
                    self.tampered(f"record {number}: its checkpoint is of other records")
                closing = None
        if not self.has_signed(self.newest, self.keys[self.signer(self.size)]):
            self.tampered("the newest checkpoint is not signed by the key of its epoch")

    def add_key(self, number: int, record: Row) -> int | None:
        """The epoch that ends with it, if one does."""
        text = record["note"].rpartition("\n\n")[0].split("\n")
        key = parse_vkey(text[2])
        epoch = len(self.keys)
        begins = epoch == 0 or bool(record.get("again"))
        signer = key if begins else self.keys[-1]
        if record["epoch"] != epoch or open_note(record["note"], signer) != [
            self.origin,
            f"key {epoch}",
            key.text,
        ]:
            self.tampered(f"record {number}: a key out of its turn")
        self.keys.append(key)
        self.from_size.append(number + 1 if begins else number + 2)
        if begins:
            self.chains.append(epoch)
        return None if begins else epoch - 1

    def signer(self, size: int) -> int:
        """The epoch whose key signs a checkpoint of so many records."""
        return max(epoch for epoch, first in enumerate(self.from_size) if first <= size)

    @staticmethod
    def has_signed(note: str, key: PublicKey) -> bool:
        try:
            open_note(note, key)
        except ValueError:
            return False
        return True

    # 3. what was given from outside

    def verify_anchors(self, keys: tuple[str, ...], checkpoint: str | None) -> None:
        texts = [key.text for key in self.keys]
        for key in keys:
            if key not in texts:
                self.tampered(f"{key} is no key of this log")
        if keys and not self.found.tampered:
            first = min(texts.index(key) for key in keys)
            for chain in self.chains:
                if chain > first and not any(texts.index(key) >= chain for key in keys):
                    self.tampered(f"a chain of keys begins with epoch {chain}, and no key of it was given")
        if checkpoint is not None:
            origin, size, root = parse_checkpoint(checkpoint.rpartition("\n\n")[0].split("\n"))
            if origin != self.origin or not self.has_signed(checkpoint, self.keys[self.signer(size)]):
                self.tampered("the checkpoint that was given is not of this log")
            elif size > len(self.hashes):
                self.incomplete("the checkpoint that was given covers more than is there")
            elif root_of(self.hashes[:size]) != root:
                self.tampered("the log is not the one that the checkpoint that was given covers")

    # 4. records about journals

    def verify_journals(self) -> None:
        self.records = self.records[: self.size]  # what no checkpoint covers does not count
        void = {record["batch"] for record in self.records if record["record"] == "void"}
        previous: dict[tuple[str, int], str] = {}
        runs: dict[Key, dict[int, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
        for number, record in enumerate(self.records):
            kind = record["record"]
            if kind not in ("events", "segment", "gone"):
                continue
            who, key = (record["process"], record["uid"]), key_of(record)
            if record["previous"] != previous.get(who):
                self.tampered(f"record {number}: its chain is broken")
            previous[who] = self.hashes[number].hex()
            if kind == "events":
                if record["runs"] != sorted(record["runs"]) or record["events"] != sum(
                    run[2] for run in record["runs"]
                ):
                    self.tampered(f"record {number}: its runs make no sense")
                for slot, first, count in record["runs"]:
                    if any(first < end and begin < first + count for begin, end in runs[key][slot]):
                        self.tampered(f"record {number}: seals events a second time")
                    runs[key][slot].append((first, first + count))
                if key in self.closed:
                    self.tampered(f"record {number}: seals events of a segment that is closed")
                self.sealed[key].append(record)
            elif kind == "segment" and record["batch"] not in void:
                self.closed[key] = record
                if record["events"] != sum(one["events"] for one in self.sealed[key]):
                    self.tampered(f"record {number}: counts other events than were sealed")
            elif kind == "gone":
                self.gone.add(key)

    # 5. the manifest

    def verify_manifest(self) -> dict[str, Row]:
        told: dict[str, Row] = {}
        dropped: set[str] = set()
        last = None
        for record in self.records:
            if record["record"] == "found":
                told.update((batch["batch"], batch | {"replaces": []}) for batch in record["batches"])
                self.before = {batch["batch"] for batch in record["batches"]}
            elif record["record"] == "batch":
                told[record["batch"]] = record
                last = record["batch"]
            elif record["record"] == "void":
                del told[record["batch"]]
            elif record["record"] == "dropped":
                dropped.update(record["batches"])
        there = {}
        for path in sorted((self.directory / "archive" / "manifest").glob("*.json")):
            entry = json.loads(path.read_text())
            if entry["format"] != 1 or entry["batch"] != path.stem:
                raise ValueError(f"{path.name}: no entry")
            there[path.stem] = entry
        if last in told and last not in there:  # its writer was killed: it never came into the manifest
            never = told.pop(last)
            self.closed = {key: one for key, one in self.closed.items() if one["batch"] != never["batch"]}
        replaced = {name for batch in told.values() for name in batch["replaces"]}
        for entry in there.values():
            if entry["batch"] not in told and entry["batch"] not in dropped:
                self.tampered(f"{entry['batch']}: no record names this batch")
            elif entry["batch"] in told and entry["replaces"] != list(told[entry["batch"]]["replaces"]):
                self.tampered(f"{entry['batch']}: replaces other batches than was told")
        for name, batch in told.items():
            self.made_of[name] = {name}.union(*(self.made_of.get(one, {one}) for one in batch["replaces"]))
        counting = {name: batch for name, batch in told.items() if name not in replaced | dropped}
        for name in counting:
            if name not in there:
                self.incomplete(f"{name}: this batch is not there")
        self.dropped = {one for name in dropped for one in self.made_of.get(name, {name})}
        return {
            name: batch
            for name, batch in counting.items()
            if name in there and self.same_parts(batch, there[name])
        }

    def same_parts(self, batch: Row, entry: Row) -> bool:
        said = [{name: part[name] for name in ("path", "rows", "bytes", "sha256")} for part in entry["parts"]]
        if said != batch["parts"]:
            self.tampered(f"{batch['batch']}: the manifest names other parts than was told")
            return False
        return [self.is_part(part) for part in batch["parts"]].count(False) == 0

    def is_part(self, part: Row) -> bool:
        path = self.directory / "archive" / part["path"]
        if not path.exists():
            self.incomplete(f"{part['path']}: is not there")
            return False
        data = path.read_bytes()
        if len(data) != part["bytes"] or sha(data).hex() != part["sha256"]:
            self.tampered(f"{part['path']}: is not as it was sealed")
            return False
        if pq.ParquetFile(path).metadata.num_rows != part["rows"]:
            self.tampered(f"{part['path']}: has another number of rows")
        return True

    # 6. events of batches

    def verify_batches(self, batches: dict[str, Row]) -> None:
        archived: set[Key] = set()
        for name, batch in batches.items():
            tables = {table: self.read(batch, table) for table in ("events", "stacks", "segments")}
            stacks = [bytes(32)]
            for row in tables["stacks"]:
                caller = stacks[row["parent"] or 0]
                stacks.append(hash_frame(caller, row["line"] or 0, row["file"], row["function"]))
            hashes: dict[Key, dict[tuple[int, int], bytes]] = defaultdict(dict)
            for event in tables["events"]:
                event["time_ns"] = event.pop("time").value * 1000 + event["nanosecond"]
                place = event["slot"], event["number"] % 2**64
                hashes[key_of(event)][place] = hash_event(event, stacks[event["stack"] or 0])
                self.found.events += 1
            for row in tables["segments"]:
                key = key_of(row)
                if key in archived:
                    self.tampered(f"{key}: is in two batches")
                archived.add(key)
                self.verify_segment(name, row, hashes.pop(key, {}))
            if hashes:
                self.tampered(f"{name}: events of segments that are not in it")
        for key, record in self.closed.items():
            if key not in archived and record["batch"] not in self.dropped and not self.found.incomplete:
                self.incomplete(f"{key}: is not in the archive")

    def verify_segment(self, batch: str, row: Row, hashes: dict[tuple[int, int], bytes]) -> None:
        key = key_of(row)
        record = self.closed.get(key)
        if record is None:
            if not self.made_of[batch] & self.before:
                self.tampered(f"{key}: no record closes this segment")
            return
        if record["batch"] not in self.made_of[batch]:
            self.tampered(f"{key}: is in another batch than was told")
        if record["row"] != hash_row(row) or record["events"] != row["events"]:
            self.tampered(f"{key}: its row is not as it was sealed")
        if len(hashes) != record["events"]:
            self.tampered(f"{key}: has {len(hashes)} events, where {record['events']} were sealed")
        self.verify_events(key, hash_identity(row), hashes)

    def verify_events(self, key: Key, identity: str, hashes: dict[tuple[int, int], bytes]) -> None:
        for record in self.sealed[key]:
            if record["identity"] != identity:
                self.tampered(f"{key}: was sealed as of another process")
            ids = [
                (slot, number) for slot, first, count in record["runs"] for number in range(first, first + count)
            ]
            if any(one not in hashes for one in ids):
                self.tampered(f"{key}: events that were sealed are not there")
            elif root_of([hashes[one] for one in ids]).hex() != record["root"]:
                self.tampered(f"{key}: its events are not as they were sealed")

    def read(self, batch: Row, table: str) -> list[Row]:
        found: list[Row] = []
        for part in batch["parts"]:
            if part["path"].startswith(f"{table}/"):
                rows = pq.read_table(self.directory / "archive" / part["path"], partitioning=None)
                columns = {name: rows[name] for name in rows.column_names}
                as_rows = rows.drop_columns([n for n in ("time", "begin", "end") if n in columns]).to_pylist()
                if "time" in columns:
                    for row, time in zip(as_rows, columns["time"], strict=True):
                        row["time"] = time
                found += as_rows
        return found

    # 7. the journal

    def verify_live(self) -> None:
        waiting = {key for key in self.sealed if key not in self.closed and key not in self.gone}
        for path in sorted((self.directory / "journal").glob("u*/*.pyaudit")):
            segment = LiveSegment(path.read_bytes())
            reading = segment.read()
            key = reading.process, segment.u32(72), path.stat().st_uid
            if key not in waiting:
                continue
            waiting.remove(key)
            hashes = {}
            for event in reading.events:
                event["source"] = event["source"] if event["source"] != "unknown" else None
                event["thread"] = event["thread"] or None
                hashes[event["slot"], event["number"]] = hash_event(event, event["stack"])
            self.verify_events(key, hash_identity(self.identity(segment, key, reading.attributes)), hashes)
        for key in waiting:
            self.incomplete(f"{key}: is in neither the journal nor the archive")

    def identity(self, segment: LiveSegment, key: Key, attributes: Row) -> Row:
        row = dict(zip(("process", "sequence", "uid"), key, strict=True))
        for name in ("host", "run", "python", "exe", "cwd"):
            row[name] = attributes[name] if isinstance(attributes.get(name), str) else None
        words = [word for word in attributes.get("argv", []) if isinstance(word, str)]
        parent, boot = segment.data[40:56], segment.data[56:72]
        return row | {
            "argv": compact(words) if words else None,
            "parent": parent.hex() if any(parent) else None,
            "boot": boot.hex() if any(boot) else None,
            "pid": segment.u32(80),
            "ppid": segment.u32(84),
            "pid_start": segment.u64(88),
            "pid_namespace": segment.u64(96),
            "way": WAYS.get(segment.u32(116), "unknown"),
            "begin_ns": segment.u64(144),
        }


if __name__ == "__main__":
    verdict = Store(Path(sys.argv[1])).verify(tuple(sys.argv[2:]))
    for text in [*verdict.tampered, *verdict.incomplete]:
        print(text)
    print(verdict.word)
