"""Sealed events with all that proves them, in one zip file: an outsider verifies it offline, without us.

    report = write_evidence(directory, Archive(directory), journal.events(wanted), Path("evidence.zip"), {})

What is in the file is said in README.txt there; verify.py there is `offline`. Events are proven one by one (a path
to the root that a record of the log has for them), records by a path to the root of the newest checkpoint, and by
another to that at the end of their own epoch, whose key is destroyed: who has the keys of today cannot make it.

Nothing is in place before it was verified: by the same code, with the keys of the log.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO, Any

from pythonaudit.archive import leaves
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.proving import Hashed, find_segments, hash_segments
from pythonaudit.durable import NEW, sync_directory
from pythonaudit.errors import FormatError, PythonAuditError, StoreError
from pythonaudit.export import offline
from pythonaudit.export.offline.events import hash_event
from pythonaudit.export.offline.files import FOLDER, FORMAT, Bundle, members
from pythonaudit.export.offline.verify import verify
from pythonaudit.integrity import merkle, notes
from pythonaudit.integrity.log import Log, parse_record
from pythonaudit.integrity.state import Key, key_of
from pythonaudit.journal.decode import Event

_ABOUT_KEYS = frozenset({"begin", "key", "closed"})
_TRIES = 5
_FILE_MODE = 0o100644  # of the files in the bundle
_NO_SUCH = -1


@dataclass(slots=True)
class Report:
    """What was written, and what was not.

    Attributes:
        events, segments, records: in the bundle; without records about keys.
        bytes: its size.
        open: events that match and are not archived, or not sealed.
        earlier: events that were archived before sealing began.
        differing: events that the archive does not have as they were sealed.
    """

    events: int = 0
    segments: int = 0
    records: int = 0
    bytes: int = 0
    open: int = 0
    earlier: int = 0
    differing: int = 0


def write_evidence(
    directory: Path,
    archive: Archive,
    events: Iterable[Event],
    path: Path,
    filters: Mapping[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Writes a bundle.

    Args:
        directory: that of `PYTHONAUDIT_DIR`.
        archive: of it.
        events: those that are wanted, in the order in which they are to stand.
        path: of the zip file, which is replaced if it is there.
        filters: what they were chosen by, to be said in the bundle.
        progress: told how many segments of how many are hashed.

    Raises:
        StoreError: nothing is sealed, or something cannot be read or written.
        PythonAuditError: no such event is sealed.
    """
    log = Log(directory)
    if not log.exists:
        raise StoreError(f"nothing is sealed in {directory}", hint="begin with 'pythonaudit keys init'")
    new = path.with_name(path.name + NEW)
    try:
        with tempfile.TemporaryFile(dir=path.parent) as lines, tempfile.TemporaryFile(dir=path.parent) as proofs:
            selected = _Selected(lines, proofs)
            for event in events:
                selected.add(event)
            selected.sort()
            trail = _Trail(log, selected)
            proven = _Proven(trail, selected)
            _prove(archive, proven, progress)
            if not proven.report.events:
                raise PythonAuditError("no event that matches is sealed and archived", hint=_why(proven.report))
            try:
                _write(new, _files(proven, filters))
                _check(new, trail)
                os.replace(new, path)
            finally:
                with suppress(FileNotFoundError):
                    new.unlink()
        sync_directory(path.parent)
    except FormatError as error:
        raise StoreError(f"{log.root}: {error}", hint="'pythonaudit verify' says what is wrong") from None
    except OSError as error:
        raise StoreError(f"{error.filename or path}: {error.strerror or error}") from None
    proven.report.bytes = path.stat().st_size
    return proven.report


def _why(report: Report) -> str | None:
    """Why no event is left, where some match."""
    if report.differing:
        return "those that match are not as they were sealed; 'pythonaudit verify' says what is wrong"
    if report.open:
        return "'pythonaudit ingest' seals what ended processes recorded"
    return "those that match were archived before sealing began" if report.earlier else None


class _Selected:
    """The events that are wanted; their lines, and their proofs as they are found, are in files.

    Attributes:
        of: for each segment, slot and number of its events, and which of all they are; in order when `sort` was called.
    """

    def __init__(self, lines: IO[bytes], proofs: IO[bytes]) -> None:
        self._lines, self._proofs = lines, proofs
        self._line_at, self._proof_at = array("q"), array("q")
        self.of: dict[Key, list[tuple[int, int, int]]] = {}

    def __len__(self) -> int:
        return len(self._line_at)

    def add(self, event: Event) -> None:
        """Adds an event."""
        key = event.process.id, event.decoder.segment.header.sequence, event.process.uid
        self.of.setdefault(key, []).append((event.thread.slot, event.number, len(self)))
        self._line_at.append(self._lines.tell())
        self._proof_at.append(_NO_SUCH)
        self._lines.write(event.to_json() + b"\n")

    def sort(self) -> None:
        """All are there."""
        for events in self.of.values():
            events.sort()

    def among(self, key: Key, runs: Iterable[Any]) -> list[tuple[int, int, int]]:
        """Those of a segment that are in these runs."""
        events, found = self.of[key], []
        for slot, first, count in runs:
            begin, end = (bisect_left(events, (slot, number, 0)) for number in (first, first + count))
            found += events[begin:end]
        return found

    def line(self, which: int) -> bytes:
        """The line of an event, with its line feed."""
        self._lines.seek(self._line_at[which])
        return self._lines.readline()

    def prove(self, which: int, proof: Mapping[str, Any]) -> None:
        """Keeps the proof of an event."""
        self._proof_at[which] = self._proofs.seek(0, os.SEEK_END)
        self._proofs.write(_line(proof))

    def lines(self) -> Iterator[bytes]:
        """The lines of events that are proven."""
        return (self.line(which) for which, at in enumerate(self._proof_at) if at != _NO_SUCH)

    def proofs(self) -> Iterator[bytes]:
        """Their proofs."""
        for at in self._proof_at:
            if at != _NO_SUCH:
                self._proofs.seek(at)
                yield self._proofs.readline()


@dataclass(slots=True)
class _Kept:
    """A record that comes into the bundle; `closed`: its path at the end of its epoch."""

    line: bytes
    record: dict[str, Any]
    closed: list[bytes] | None = None


class _Trail:
    """What the log says of some segments and of keys, up to its newest checkpoint.

    Attributes:
        checkpoint: as it is written. `origin`, `size`: of it.
        events: numbers of the records `events` of each segment that hold wanted events.
        segment: number of the record that closes each.
        kept: records by number. `prover`: has their paths.
        keys: public keys by their bytes.
    """

    def __init__(self, log: Log, selected: _Selected) -> None:
        self.checkpoint = log.read_checkpoint() or ""
        text, _ = notes.split_note(self.checkpoint)
        self.origin = text.partition("\n")[0]
        self.size, root = notes.parse_checkpoint(text, self.origin)
        self.events: dict[Key, list[int]] = {}
        self.segment: dict[Key, int] = {}
        self.kept: dict[int, _Kept] = {}
        self.keys: dict[bytes, notes.PublicKey] = {}
        self.prover = merkle.Prover()
        self._in_epoch: list[int] = []
        for number, line in zip(range(self.size), log.lines(), strict=False):
            self._add(number, line, selected)
        if self.prover.root() != root:
            raise FormatError("the records are not those that the checkpoint covers")

    def _add(self, number: int, line: bytes, selected: _Selected) -> None:
        record = parse_record(line)
        kind = record["record"]
        try:
            is_kept = self._wants(number, kind, record, selected)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"record {number}: {error}") from None
        if kind == "closed":
            for before in self._in_epoch:
                self.kept[before].closed = self.prover.path(before)
            self._in_epoch.clear()
        if is_kept:
            self.kept[number] = _Kept(line, record)
            if kind not in _ABOUT_KEYS:
                self._in_epoch.append(number)
        self.prover.add(merkle.hash_leaf(line), is_kept)

    def _wants(self, number: int, kind: str, record: dict[str, Any], selected: _Selected) -> bool:
        """Whether a record comes into the bundle, as far as can be told when it is read."""
        if kind == "key":
            _, key = notes.parse_key(notes.split_note(record["note"])[0])
            self.keys[key.data] = key
        elif kind == "void":
            never = record["batch"]
            self.segment = {of: at for of, at in self.segment.items() if self.kept[at].record["batch"] != never}
        elif kind == "events" and key_of(record) in selected.of:
            if not selected.among(key_of(record), record["runs"]):
                return False
            self.events.setdefault(key_of(record), []).append(number)
            return True
        elif kind == "segment" and key_of(record) in selected.of:
            self.segment[key_of(record)] = number
            return True
        return kind in _ABOUT_KEYS


class _Proven:
    """Finds a proof for every event that has one.

    Attributes:
        report: what was found.
        rows: of segments that have proven events, as text. `records`: those that are about them.
    """

    def __init__(self, trail: _Trail, selected: _Selected) -> None:
        self.trail, self.selected = trail, selected
        self.report = Report()
        self.rows: dict[Key, bytes] = {}
        self.records: set[int] = set()

    def add(self, segment: Hashed) -> None:
        """Proves the events of a segment that is sealed."""
        key, trail, selected, report = segment.key, self.trail, self.selected, self.report
        closing = trail.segment[key]
        is_same = trail.kept[closing].record["row"] == leaves.hash_row(segment.row)
        identity = leaves.hash_identity(segment.row)
        proven = 0
        for number in trail.events.get(key, ()):
            record = trail.kept[number].record
            hashes = _sealed_by(segment, record)
            if hashes is not None and is_same and record["identity"] == identity:
                count = self._add_events(segment, number, hashes)
                self.records |= {number, closing} if count else set()
                proven += count
        if proven:
            self.rows[key] = leaves.build_row_text(segment.row)
        report.events += proven
        report.differing += len(selected.of[key]) - proven
        report.segments, report.records = len(self.rows), len(self.records)

    def _add_events(self, segment: Hashed, number: int, hashes: list[bytes]) -> int:
        runs = self.trail.kept[number].record["runs"]
        wanted = self.selected.among(segment.key, runs)
        places = [_index(runs, slot, at) for slot, at, _ in wanted]
        count = 0
        for (slot, at, which), index, path in zip(wanted, places, merkle.prove_all(hashes, places), strict=True):
            line = self.selected.line(which)[:-1]
            exact = _exact(line, hashes[index], segment, segment.places[slot, at])
            if exact is not None:
                proof = {"id": f"{segment.key[0]}/{slot}/{at}", "record": number, "index": index}
                self.selected.prove(which, proof | {"path": _hex(path)} | exact)
                count += 1
        return count


def _prove(archive: Archive, proven: _Proven, progress: Callable[[int, int], None] | None) -> None:
    trail, selected, report = proven.trail, proven.selected, proven.report
    left = set(selected.of)
    for _ in range(_TRIES):
        try:
            for entry, rows in find_segments(archive, left):
                sealed = {key: row for key, row in rows.items() if key in trail.segment}
                for segment in hash_segments(archive, entry, sealed):
                    proven.add(segment)
                    left.discard(segment.key)
                    if progress:
                        progress(len(selected.of) - len(left), len(selected.of))
                for key in left & rows.keys() - trail.events.keys() - sealed.keys():
                    report.earlier += len(selected.of[key])
                    left.discard(key)
                for key in left & sealed.keys():
                    report.differing += len(selected.of[key])
                    left.discard(key)
            break
        except FileNotFoundError:  # put together with others meanwhile
            continue
    else:
        raise StoreError(f"{archive.root}: parts are not there", hint="'pythonaudit verify' says which")
    report.open += sum(len(selected.of[key]) for key in left)


def _sealed_by(segment: Hashed, record: Mapping[str, Any]) -> list[bytes] | None:
    """The hashes of a record's events; None: they are not those that were sealed, or not there."""
    try:
        hashes = [
            segment.hashes[segment.places[slot, number]]
            for slot, first, count in record["runs"]
            for number in range(first, first + count)
        ]
    except KeyError:
        return None
    return hashes if merkle.find_root(hashes).hex() == record["root"] else None


def _index(runs: Iterable[tuple[int, int, int]], slot: int, number: int) -> int:
    before = 0
    for of_slot, first, count in runs:
        if of_slot == slot and first <= number < first + count:
            break
        before += count
    return before + number - first


def _exact(line: bytes, leaf: bytes, segment: Hashed, place: int) -> dict[str, Any] | None:
    """What must be said beside an event's line so that its hash can be made of it; None: it cannot."""
    said = members(line)
    for is_needed in (False, True):
        exact = segment.exact(place) if is_needed else {}
        with suppress(KeyError, TypeError, ValueError):
            if leaf == hash_event(said, exact):
                return exact
    return None


def _files(proven: _Proven, filters: Mapping[str, Any]) -> Iterator[tuple[str, Iterable[bytes]]]:
    """The files of a bundle in order: names, and what is in each."""
    trail, report = proven.trail, proven.report
    left_out = {"open": report.open, "earlier": report.earlier, "differing": report.differing}
    about = {"format": FORMAT, "events": report.events, "filters": filters, "left_out": left_out}
    yield "README.txt", [resources.files(__package__).joinpath("evidence_readme.txt").read_bytes()]
    yield "verify.py", [offline.source().encode()]
    yield "bundle.json", [_line(about)]
    yield "checkpoint", [trail.checkpoint.encode()]
    yield "log.jsonl", _records(proven)
    yield "segments.jsonl", (proven.rows[key] + b"\n" for key in sorted(proven.rows))
    yield "events.jsonl", proven.selected.lines()
    yield "proofs.jsonl", proven.selected.proofs()


def _records(proven: _Proven) -> Iterator[bytes]:
    for number, kept in proven.trail.kept.items():
        if number not in proven.records and kept.record["record"] not in _ABOUT_KEYS:
            continue
        said = {"number": number, "line": kept.line.decode(), "path": _hex(proven.trail.prover.path(number))}
        yield _line(said | ({"closed": _hex(kept.closed)} if kept.closed is not None else {}))


def _write(path: Path, files: Iterable[tuple[str, Iterable[bytes]]]) -> None:
    """Writes a zip file, the same of the same content."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, parts in files:
                about = zipfile.ZipInfo(FOLDER + name)  # of 1980
                about.compress_type, about.create_system = zipfile.ZIP_DEFLATED, 3
                about.external_attr = _FILE_MODE << 16
                with bundle.open(about, "w", force_zip64=True) as member:
                    for part in parts:
                        member.write(part)
        file.flush()
        os.fsync(file.fileno())


def _check(path: Path, trail: _Trail) -> None:
    """That the bundle is what an outsider verifies.

    Raises:
        FormatError: it is not.
    """

    def is_signed(key: bytes, text: bytes, signature: bytes) -> bool:
        return key in trail.keys and trail.keys[key].verifies(text, signature)

    with Bundle(str(path)) as bundle:
        found = verify(bundle, (), is_signed)
    if found.problems:
        raise FormatError(found.problems[0])


def _hex(path: Iterable[bytes]) -> list[str]:
    return [one.hex() for one in path]


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
