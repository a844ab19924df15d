"""What a bucket lacks of an archive and of the log that seals it, and sending it: parts, entries, then records.

    sender = Sender(Bucket(address), "web-1", interval=300, locked_until=lambda: None)
    sent = sender.send(Path("/var/log/pythonaudit"), until=time.monotonic() + 5)

Each object is written once, under a name that nobody else gives to something else, so whoever is killed between two of
them, or sends at the same time, has lost and doubled nothing: the next one goes on with what is not there. The order is
that of the archive itself (docs/format/bucket.md): what an entry names is there before it, and what a checkpoint covers
before that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from pythonaudit.archive.bucket import (
    FOREVER_NS,
    Sealed,
    Span,
    build_listed,
    build_sealed,
    entries_prefix,
    entry_key,
    host_key,
    parse_entry_key,
    parse_sealed,
    parse_sealed_key,
    part_key,
    seal_prefix,
    sealed_key,
)
from pythonaudit.archive.compact import SMALL_EVENTS
from pythonaudit.archive.manifest import Archive, Entry, Part
from pythonaudit.archive.objects import MOST_BYTES, Bucket, BucketError
from pythonaudit.archive.stored import read_segments
from pythonaudit.errors import FormatError
from pythonaudit.integrity.log import Log, parse_record, read_lines
from pythonaudit.integrity.verify import parse_outside

_DAY_NS = 86_400_000_000_000
_SETTLED_NS = 3_600_000_000_000  # a day's batches are put together until then
_LAST = "~"  # after all names of batches
_RECORDS = 1 << 15  # of one object
_ROUNDS = 5


@dataclass(slots=True)
class Sent:
    """What has been written: objects, their bytes, events in parts, records of the log; whether that is all."""

    objects: int = 0
    bytes: int = 0
    events: int = 0
    records: int = 0
    is_done: bool = False


class Sender:
    """Sends what one directory keeps.

    Args:
        bucket: where to.
        name: of this sender in the bucket; no two directories have the same.
        interval: seconds within which the next records come, as long as an agent runs. It is told with them.
        locked_until: until when what is written now cannot be removed; None: it can.
    """

    def __init__(
        self, bucket: Bucket, name: str, interval: int, locked_until: Callable[[], datetime | None]
    ) -> None:
        self._bucket, self._name, self._interval, self._locked_until = bucket, name, interval, locked_until
        self._there: set[str] = set()  # batches whose entries are in the bucket
        self._inside: set[str] = set()  # batches all of whose events are, in these or in those that they replace
        self._oldest = ""  # from this batch on, `_there` is known; empty: nobody has looked
        self._hosts: set[str] = set()
        self._logs: dict[str, _Position] = {}

    def send(self, directory: Path, until: float) -> Sent:
        """Sends what is new.

        Args:
            directory: that of `PYTHONAUDIT_DIR`.
            until: when to stop, on the monotonic clock; what is not sent then comes the next time.

        Raises:
            StoreError: the directory may not be read.
            BucketError: the bucket cannot be written.
        """
        archive, sent = Archive(directory), Sent()
        missing: set[str] = set()
        lines = None
        for _ in range(_ROUNDS):
            if not self._send_entries(archive, sent, until):
                return sent
            # Records are durable before the entries of which they tell: these may have come since.
            lines = self._new_lines(Log(directory))
            before, missing = missing, _named(lines) - self._inside
            if not missing or missing == before:
                break
        sent.is_done = self._send_records(lines, sent, until)
        return sent

    def _send_entries(self, archive: Archive, sent: Sent, until: float) -> bool:
        """Sends batches; whether it came to an end in time."""
        entries = archive.entries()
        self._look(entries)
        for entry in entries:
            if entry.batch in self._there:
                continue
            if entry.replaces and self._inside.issuperset(entry.replaces):
                self._inside.add(entry.batch)
                if not _is_settled(entry):
                    continue  # it would be replaced in turn, again and again
            if time.monotonic() >= until:
                return False
            if self._send_batch(archive, entry, sent):
                self._there.add(entry.batch)
                self._inside.add(entry.batch)
        return True

    def _look(self, entries: list[Entry]) -> None:
        """Looks which of these, and of those that they replace, are in the bucket; once. So what is wrong with the
        bucket shows before anything is archived, too.
        """
        oldest = min((name for entry in entries for name in (entry.batch, *entry.replaces)), default=_LAST)
        if self._oldest and oldest >= self._oldest:
            return
        prefix = entries_prefix(self._name)
        for key, _ in self._bucket.keys(prefix, prefix + oldest):
            found = parse_entry_key(key)
            if found:
                self._there.add(found[0])
        self._inside |= self._there
        self._oldest = oldest

    def _send_batch(self, archive: Archive, entry: Entry, sent: Sent) -> bool:
        """Sends parts, then the entry; False: the batch has been put together with others meanwhile."""
        try:
            text = (archive.root / "manifest" / f"{entry.batch}.json").read_bytes()
            about = read_segments(archive, entry, ("process", "host", "begin_ns", "end_ns"))
        except FileNotFoundError:
            return False
        for part in entry.parts:
            if not self._send_part(archive, part, sent) and entry.batch not in {
                e.batch for e in archive.entries()
            }:
                return False
        hosts = None if about is None else {host or "" for host in about["host"].to_pylist()}
        for host in (hosts or {part.host or "" for part in entry.of("events")}) - self._hosts:
            self._put(host_key(host, self._name), b"", sent)
            self._hosts.add(host)
        processes = about["process"].to_pylist() if about is not None else None
        listed = build_listed(text, hosts, processes)
        self._put(entry_key(self._name, entry.batch, _span_of(entry, about)), listed, sent)
        return True

    def _send_part(self, archive: Archive, part: Part, sent: Sent) -> bool:
        """Sends a part; False: it is not there. One that is not what the manifest says is left out: whoever
        verifies finds it missing, and that is what it is.
        """
        path = archive.path(part)
        if part.bytes > MOST_BYTES:
            hint = "such parts are not sent"
            raise BucketError(f"{path}: {part.bytes:,} bytes, and an object has {MOST_BYTES:,} at most", hint=hint)
        try:
            key = part_key(self._name, part.path, part.sha256)
            if self._bucket.put(key, path, part.sha256, self._locked_until()):
                sent.objects += 1
                sent.bytes += part.bytes
                sent.events += part.rows if part.table == "events" else 0
        except FileNotFoundError:
            return False
        except (ValueError, OSError) as error:
            archive.note(path, error)
        return True

    def _put(self, key: str, body: bytes, sent: Sent) -> bool:
        written = self._bucket.put(key, body, None, self._locked_until())
        if written:
            sent.objects += 1
            sent.bytes += len(body)
        return written

    def _new_lines(self, log: Log) -> _Lines | None:
        """What the newest checkpoint covers and the bucket does not have; None: nothing is sealed here."""
        note = log.read_checkpoint()
        if note is None:
            return None
        try:
            origin, size, _ = parse_outside(note)
        except FormatError as error:
            raise BucketError(f"{log.root / 'checkpoint'}: {error}; nothing of the log is sent") from None
        if origin not in self._logs:
            self._logs[origin] = self._find_position(log, origin)
        position = self._logs[origin]
        return _Lines(log, origin, position, note, size)

    def _find_position(self, log: Log, origin: str) -> _Position:
        """Where the records in the bucket end. The last of them have to be those that are here."""
        last = max((key for key, _ in self._bucket.keys(seal_prefix(self._name, origin))), default=None)
        if last is None or parse_sealed_key(last) is None:
            return _Position()
        try:
            sealed = parse_sealed(self._bucket.get(last))
        except FormatError as error:
            raise BucketError(f"{self._bucket.address}/{last}: {error}") from None
        if tuple(_read(log, sealed.first, sealed.end)) != sealed.lines:
            what = f"from record {sealed.first:,} on, the bucket has others than {log.root} of {origin}"
            hint = f"was the directory put back from a backup, or does another one send as {self._name!r}?"
            raise BucketError(f"{self._bucket.address}: {what}", hint=hint)
        return _Position(sealed.end)

    def _send_records(self, lines: _Lines | None, sent: Sent, until: float) -> bool:
        """Sends records, then the checkpoint that covers them; whether it came to an end in time."""
        if lines is None:
            return True
        position = lines.position
        records = _read(lines.log, position.next, lines.end)
        while some := tuple(islice(records, _RECORDS)):
            if time.monotonic() >= until:
                return False
            is_last = position.next + len(some) == lines.end
            note = lines.note if is_last else None
            sealed = Sealed(position.next, some, note, self._interval, time.time_ns())
            if not self._put(sealed_key(self._name, lines.origin, sealed.first), build_sealed(sealed), sent):
                del self._logs[lines.origin]  # somebody else has sent them: look again where to go on
                return False
            position.next = sealed.end
            sent.records += len(some)
        return True


@dataclass(slots=True)
class _Position:
    """Number of the record of a log that comes next."""

    next: int = 0


@dataclass(frozen=True, slots=True)
class _Lines:
    """Records of a log that are to be sent: from a position to before `end`, as the checkpoint covers them."""

    log: Log
    origin: str
    position: _Position
    note: str
    end: int


def _read(log: Log, first: int, end: int) -> Iterator[bytes]:
    """Records of a log from one number to before another, as far as they are there."""
    files = log.files()
    for (start, path), after in zip(files, [*(number for number, _ in files[1:]), end], strict=True):
        if after <= first or start >= end:
            continue
        for number, (line, _) in enumerate(read_lines(path), start):
            if first <= number < end:
                yield line


def _named(lines: _Lines | None) -> set[str]:
    """The batches that these records bring into the manifest, as far as they know."""
    named: set[str] = set()
    for line in _read(lines.log, lines.position.next, lines.end) if lines else ():
        if b'"batch"' not in line and b'"void"' not in line and b'"dropped"' not in line:
            continue
        record = parse_record(line)
        if record["record"] == "batch":
            named.difference_update(record["replaces"])
            named.add(record["batch"])
        elif record["record"] == "void":
            named.discard(record["batch"])
        elif record["record"] == "dropped":
            named.difference_update(record["batches"])
    return named


def _is_settled(entry: Entry) -> bool:
    """Whether a batch that was put together will not be put together with others."""
    if sum(part.rows for part in entry.of("events")) >= SMALL_EVENTS:
        return True
    end_ns = (entry.newest_ns // _DAY_NS + 1) * _DAY_NS
    return time.time_ns() >= end_ns + _SETTLED_NS


def _span_of(entry: Entry, about: object) -> Span:
    """From when to when something of a batch is; of one that does not say, all time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    times = [time_ns for part in entry.of("events") for time_ns in (part.begin_ns or 0, part.end_ns or 0)]
    if not isinstance(about, pa.Table) or not len(about):
        return Span(min(times), max(times)) if times and entry.of("segments") == [] else Span(0, FOREVER_NS)
    times += [pc.min(about["begin_ns"]).as_py(), pc.max(about["end_ns"]).as_py()]
    return Span(max(min(times), 0), min(max(times), FOREVER_NS))
