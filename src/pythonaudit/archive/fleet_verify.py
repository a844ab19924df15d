"""Holds a bucket of many hosts against the logs that they have sent: `pythonaudit verify --dir s3://…`.

    for sender, report in verify_fleet(bucket, Anchors(keys=(…,)), time.time_ns()): ...

Public keys are all that is needed. Each log is verified as that of a directory is (`verify`); what differs is that the
journal is not here (sealed events that are not archived yet are no gap), that batches come as they were first archived
and are put together later (what a batch replaces stands for it), and that a host can fall silent: as long as its agent
runs, it has promised its next records within an interval. Parts are read from the bucket, each once, never from the cache.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from pythonaudit.archive.address import BucketAddress
from pythonaudit.archive.bucket import (
    Sealed,
    entries_prefix,
    name_of,
    parse_entry_key,
    parse_listed,
    parse_sealed,
    parse_sealed_key,
    part_key,
    seal_prefix,
    text_of,
)
from pythonaudit.archive.evidence import BatchTask, find_problem
from pythonaudit.archive.manifest import Archive, is_part_path, parse_entry
from pythonaudit.archive.objects import Bucket
from pythonaudit.archive.silence import Watch
from pythonaudit.archive.verify import Report, Snapshot, Verification
from pythonaudit.archive.workers import Workers
from pythonaudit.errors import FormatError, StoreError
from pythonaudit.integrity.account import SealedBatch, SealedPart, SealedSegment
from pythonaudit.integrity.log import parse_record
from pythonaudit.integrity.verdicts import NO_ANCHOR, Finding, Verdict, incomplete, judge, tampered
from pythonaudit.integrity.verify import Anchors, Checker, parse_outside

#: A batch is archived, and told in the log, within this time.
_LATE_NS = 600_000_000_000
_UNSEALED = "nothing is sealed: parts were held against a manifest that anybody can have written"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class BucketSource:
    """The parts of one sender; fetched, checked and forgotten batch by batch."""

    address: BucketAddress
    sender: str

    @contextmanager
    def holding(self, parts: Sequence[SealedPart]) -> Iterator[Path]:
        """A directory with these parts."""
        with tempfile.TemporaryDirectory(prefix="pythonaudit-") as name:
            for part in parts:
                if is_part_path(part.path):
                    path = Path(name, "archive", *part.path.split("/"))
                    path.parent.mkdir(parents=True, exist_ok=True)
                    try:
                        key = part_key(self.sender, part.path, part.sha256)
                        _open(self.address).download(key, path, part.bytes)
                    except FileNotFoundError:
                        path.unlink(missing_ok=True)
            yield Path(name)


@lru_cache(4)
def _open(address: BucketAddress) -> Bucket:
    return Bucket(address)


def verify_fleet(
    bucket: Bucket, anchors: Anchors, now_ns: int, progress: Progress | None = None, workers: int | None = None
) -> Iterator[tuple[str, Report]]:
    """Verifies all that was sent into a bucket: each sender's name, and what was found of a log of it.

    Args:
        bucket: which.
        anchors: from outside; each key and checkpoint is of the log that it names.
        now_ns: the present, nanoseconds since 1970.
        progress, workers: as of `verify.verify`.

    Raises:
        StoreError: nobody has sent anything, or the bucket cannot be read.
        FormatError: a given checkpoint is none.
    """
    given = {key.origin for key in anchors.keys} | {parse_outside(note)[0] for note in anchors.checkpoints}
    senders = sorted({text_of(name) for prefix in ("seal/", "manifest/") for name in bucket.names(prefix)})
    if not senders and not given:
        raise StoreError(f"nobody has sent anything to {bucket.address}", hint="docs/guide/fleet.md tells how")
    found = set()
    with Workers(workers, progress) as pool:
        for sender in senders:
            manifest = _Manifest(bucket, sender)
            origins = [text_of(name) for name in bucket.names(seal_prefix(sender))]
            # Some stores list what has nothing in it any more.
            logs = {origin: log for origin in origins if (log := _SentLog(bucket, sender, origin)).read()}
            for origin, log in logs.items():
                found.add(origin)
                others = {name for other in logs.values() if other is not log for name in other.batches()}
                mine = Anchors(
                    tuple(key for key in anchors.keys if key.origin == origin),
                    tuple(note for note in anchors.checkpoints if parse_outside(note)[0] == origin),
                )
                report = _SentVerification(bucket, manifest, log, mine, others, now_ns, pool).run()
                yield sender, _named(sender, report)
            if not logs and manifest.read():
                yield sender, _named(sender, _verify_unsealed(bucket, manifest))
    for origin in sorted(given - found):
        what = incomplete("nothing of this log is in the bucket: it was removed, or was never sent")
        yield "", Report([judge(origin, "archive", NO_ANCHOR, 0, [what])], is_anchored=True)


class _Manifest:
    """The entries of a sender, as they come to be listed; each is fetched once."""

    def __init__(self, bucket: Bucket, sender: str) -> None:
        self._bucket, self.sender = bucket, sender
        self._texts: dict[str, bytes | str] = {}  # by key

    def read(self) -> dict[str, bytes | str]:
        """What stands in the entry of each batch, or why that cannot be read."""
        listed = [key for key, _ in self._bucket.keys(entries_prefix(self.sender))]
        batches = {key: found[0] for key in listed if (found := parse_entry_key(key))}
        fresh = [key for key in batches if key not in self._texts]
        self._texts.update(zip(fresh, self._bucket.all(self._fetch, fresh), strict=True))
        found_texts: dict[str, bytes | str] = {}
        for key, batch in batches.items():
            text = self._texts[key]
            is_other = found_texts.setdefault(batch, text) != text
            if is_other:
                found_texts[batch] = "there are two, and they differ"
        return found_texts

    def _fetch(self, key: str) -> bytes | str:
        try:
            return parse_listed(self._bucket.get(key)).text
        except (FormatError, FileNotFoundError) as error:
            return "not there" if isinstance(error, OSError) else str(error)


class _SentLog:
    """The records of one log in a bucket, read as often as they are asked for."""

    def __init__(self, bucket: Bucket, sender: str, origin: str) -> None:
        self._bucket, self._sender, self.origin = bucket, sender, origin
        self._sealed: dict[str, Sealed | str] = {}

    def read(self) -> list[tuple[str, Sealed | str]]:
        """Key and content of each object, in order; or why it cannot be read."""
        keys = [
            key
            for key, _ in self._bucket.keys(seal_prefix(self._sender, self.origin))
            if parse_sealed_key(key) is not None
        ]
        fresh = [key for key in keys if key not in self._sealed]
        self._sealed.update(zip(fresh, self._bucket.all(self._fetch, fresh), strict=True))
        return [(key, self._sealed[key]) for key in keys]

    def _fetch(self, key: str) -> Sealed | str:
        try:
            sealed = parse_sealed(self._bucket.get(key))
        except (FormatError, FileNotFoundError) as error:
            return "not there" if isinstance(error, OSError) else str(error)
        return (
            sealed
            if sealed.first == parse_sealed_key(key)
            else "it begins with another record than it is called by"
        )

    def batches(self) -> set[str]:
        """All batches that it names."""
        names: set[str] = set()
        for _, sealed in self.read():
            for line in sealed.lines if isinstance(sealed, Sealed) else ():
                if b'"batch' in line:
                    with suppress(FormatError, TypeError, KeyError):
                        record = parse_record(line)
                        names.update({str(record.get("batch"))} if record["record"] == "batch" else ())
                        names.update(one["batch"] for one in record["batches"] if record["record"] == "found")
        return names


@dataclass(slots=True)
class _SentSnapshot(Snapshot):
    """What there was of a sender.

    Attributes:
        kept: batches that retention has removed where they were made, and that are in the bucket.
        ahead: entries of which the records are still to come.
        now_ns: the present.
    """

    now_ns: int = 0
    kept: set[str] = field(default_factory=set)
    ahead: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        account, time_ns = self.log.account, self.log.time_ns
        self.ahead = {
            name
            for name in self.before.keys() | self.after.keys()
            if name not in account.batches and time_ns - _LATE_NS < _time_ns(name) < self.now_ns + _LATE_NS
        }
        self.before, self.after = (
            {name: text for name, text in texts.items() if name not in self.ahead}
            for texts in (self.before, self.after)
        )
        last = account.last_batch
        is_due = bool(last) and time_ns - _time_ns(last) > _LATE_NS
        # What a batch stands for in the bucket: itself, or those that it was put together from, as far as all are there.
        standing: dict[str, set[str] | None] = {}
        for name, batch in account.batches.items():
            below = [standing.get(one) for one in batch.replaces]
            whole = (
                {one for some in below if some is not None for one in some}
                if below and None not in below
                else None
            )
            standing[name] = {name} if name in self.after else whole
        for name in account.counting(last in self.after or is_due):
            self.counting |= standing[name] or {name}
        for name, batch in account.batches.items():
            if batch.state == "dropped":
                self.kept |= standing[name] or set()
        self.kept -= self.counting
        self.places = {}
        dropped = {name for name, batch in account.batches.items() if batch.state == "dropped"}
        for name in self.counting | self.kept | dropped:
            for key in account.batches[name].segments:
                self.places.setdefault(key, []).append(name)

    def is_live(self, segment: SealedSegment) -> bool:
        """None has to be in a journal that is not here."""
        return False

    @property
    def known(self) -> set[str]:
        """Batches that may be in the bucket: these, and what they were put together from."""
        batches = self.log.account.batches
        names = self.counting | self.kept
        replaced: set[str] = set()
        for name in reversed(batches):
            if name in replaced or name in self.after:
                replaced.update(batches[name].replaces)
        return names | (replaced & self.after.keys())


class _SentVerification(Verification):
    """Verifies one log of a sender."""

    def __init__(
        self,
        bucket: Bucket,
        manifest: _Manifest,
        log: _SentLog,
        anchors: Anchors,
        others: set[str],
        now_ns: int,
        pool: Workers,
    ) -> None:
        super().__init__(Path(f"s3-{name_of(manifest.sender)}"), anchors, (), pool)
        self._source = BucketSource(bucket.address, manifest.sender)
        self._manifest, self._sent, self._others, self._now_ns = manifest, log, others, now_ns

    def run(self) -> Report:
        """What is found."""
        return self._run_rounds()

    def _look(self) -> _SentSnapshot:
        before = self._read_manifest()
        objects = self._sent.read()
        whole = [sealed for _, sealed in objects if isinstance(sealed, Sealed)]
        # Records without a checkpoint behind them are just coming, or will when their sender goes on.
        while whole and whole[-1].checkpoint is None:
            whole.pop()
        note = whole[-1].checkpoint if whole else None
        checker, watch = Checker(note, self._anchors), Watch()
        for sealed in whole:
            watch.promise(sealed.interval)
            for number, line in enumerate(sealed.lines, sealed.first):
                checker.add(number, line)
                watch.add(line)
        log = checker.finish(note)
        if log.origin and log.origin != self._sent.origin:
            log.findings.append(
                tampered(f"it is filed under {self._sent.origin}, and says that it is {log.origin}")
            )
        log.origin = self._sent.origin
        log.findings[:0] = [tampered(f"{key}: {sealed}") for key, sealed in objects if isinstance(sealed, str)]
        log.findings += watch.findings(log.time_ns, self._now_ns)
        return _SentSnapshot(before, log, self._read_manifest(), {}, {}, now_ns=self._now_ns)

    def _read_manifest(self) -> dict[str, bytes | str]:
        return {name: text for name, text in self._manifest.read().items() if name not in self._others}

    def _batch_task(self, snapshot: Snapshot, batch: SealedBatch) -> BatchTask:
        return replace(super()._batch_task(snapshot, batch), source=self._source)

    def _standing(self, snapshot: Snapshot) -> Iterator[SealedBatch]:
        assert isinstance(snapshot, _SentSnapshot)
        for name, batch in snapshot.log.account.batches.items():
            if name in snapshot.counting or name in snapshot.kept:
                yield batch

    def _allowed(self, snapshot: Snapshot) -> set[str]:
        assert isinstance(snapshot, _SentSnapshot)
        return snapshot.known

    def _lost(self, snapshot: Snapshot) -> set[str]:
        return set()

    def _notes(self, snapshot: Snapshot) -> list[str]:
        assert isinstance(snapshot, _SentSnapshot)
        account, found = snapshot.log.account, super()._notes(snapshot)
        waiting = sum(
            segment.count
            for segment in account.segments()
            if segment.key not in snapshot.places and not segment.gone
        )
        if waiting > 0:
            found.append(f"{waiting:,} sealed events are not archived yet: they are in the journal of the host")
        if snapshot.ahead:
            found.append(f"{len(snapshot.ahead):,} batches came ahead of the records that seal them")
        return found


def _time_ns(batch: str) -> int:
    return int(batch.partition("-")[0], 16)


def _verify_unsealed(bucket: Bucket, manifest: _Manifest) -> Report:
    """Holds parts against a manifest that nobody has sealed."""
    source = BucketSource(bucket.address, manifest.sender)
    texts = manifest.read()
    findings: list[Finding] = []
    listed = {}
    for name, text in texts.items():
        if isinstance(text, str):
            findings.append(tampered(f"manifest/{name}.json cannot be read: {text}"))
        else:
            listed[name] = parse_entry(text.decode())
    replaced = {one for entry in listed.values() for one in entry.replaces}
    verdicts: list[Verdict] = []
    for name, entry in listed.items():
        if name in replaced:
            continue
        parts = [SealedPart(part.path, part.rows, part.bytes, part.sha256) for part in entry.parts]
        with source.holding(parts) as directory:
            for part in parts:
                try:
                    problem = find_problem(Archive(directory), part)
                except FileNotFoundError:
                    problem = incomplete(f"not there: {part.rows:,} rows")
                events = part.rows if part.table == "events" else 0
                verdicts.append(judge(part.path, "part", NO_ANCHOR, events, [problem] if problem else []))
    bad = [one for one in verdicts if not one.is_fine]
    findings += [Finding(bad[0].verdict, f"{len(bad):,} parts not fine")] if bad else []
    events = sum(one.events for one in verdicts)
    return Report([judge(manifest.sender, "archive", NO_ANCHOR, events, findings, _UNSEALED), *verdicts])


def _named(sender: str, report: Report) -> Report:
    """With paths that say whose they are."""
    verdicts = [
        replace(one, subject=f"{sender}/{one.subject}") if one.kind == "part" else one for one in report.verdicts
    ]
    return replace(report, verdicts=verdicts)
