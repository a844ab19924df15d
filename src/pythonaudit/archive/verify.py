"""Holds archive and journal against the log of what was sealed: `pythonaudit verify`.

    report = verify(Path("/var/log/pythonaudit"), Anchors(keys=(…,)))
    for verdict in report.verdicts: ...

Nothing is written, no lock is taken, no private key is read. Ingest, compaction and recording go on meanwhile: an
entry of the manifest that was there before the log was read has its record in it; what the log names and is not
there (any more) is looked for again, until log and manifest have not changed in between.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from pythonaudit.archive.evidence import BatchResult, BatchTask, SegmentResult, SegmentTask, Wanted
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.workers import Workers
from pythonaudit.errors import FormatError, StoreError
from pythonaudit.integrity.account import Capture, SealedBatch, SealedSegment
from pythonaudit.integrity.log import Log, read_lines
from pythonaudit.integrity.state import Key
from pythonaudit.integrity.verdicts import (
    INCOMPLETE,
    NO_ANCHOR,
    TAMPERED,
    Finding,
    Verdict,
    incomplete,
    judge,
    tampered,
)
from pythonaudit.integrity.verify import Anchors, Checked, Checker
from pythonaudit.journal.decode import format_time
from pythonaudit.journal.reader import Journal, SegmentHead
from pythonaudit.journal.survey import parse_name

_ROUNDS = 20
_BYTES_AN_EVENT = 40  # of a segment, about


@dataclass(slots=True)
class Report:
    """What was found.

    Attributes:
        verdicts: on the archive as a whole, then on journals and parts.
        records, uncovered: of the log: how many count, and how many are not covered by a checkpoint yet.
        newest_ns: when the newest record that counts was written.
        unsealed: events of the journal that are not sealed yet, in `unsealed_segments` segments.
        is_anchored: whether anything was given from outside, be it of no use.
        notes: what there is to know beside, a line each.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    records: int = 0
    uncovered: int = 0
    newest_ns: int = 0
    unsealed: int = 0
    unsealed_segments: int = 0
    is_anchored: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Snapshot:
    """Manifest, log, manifest and journal, read one after the other.

    Attributes:
        before, after: entries by batch, or why they cannot be read.
        counting: batches that have to be in the manifest.
        places: in which of them each segment is.
    """

    before: dict[str, bytes | str]
    log: Checked
    after: dict[str, bytes | str]
    heads: dict[Key, list[SegmentHead]]
    unreadable: dict[tuple[str, int], str]  # segments, and why; by process and sequence
    counting: set[str] = field(default_factory=set)
    places: dict[Key, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        account = self.log.account
        self.counting = account.counting(account.last_batch in self.after)
        places: dict[Key, list[str]] = defaultdict(list)
        for name, batch in account.batches.items():
            if name in self.counting or batch.state == "dropped":
                for key in batch.segments:
                    places[key].append(name)
        self.places = dict(places)

    def is_live(self, segment: SealedSegment) -> bool:
        """Whether the journal has to have a segment."""
        return segment.key not in self.places and segment.gone is None and segment.count > 0


def verify(
    directory: Path,
    anchors: Anchors,
    further: Iterable[Path] = (),
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> Report:
    """Verifies all that is sealed in a directory.

    Args:
        directory: that of `PYTHONAUDIT_DIR`.
        anchors: from outside.
        further: other directories with journals.
        progress: told how many events of how many have been hashed.
        workers: how many processes hash; None: as many as there are processors, where it is worth it.

    Raises:
        StoreError: nothing is sealed here, or something may not be read.
        FormatError: a given checkpoint is none.
    """
    with Workers(workers, progress) as pool:
        return Verification(directory, anchors, tuple(further), pool).run()


class Verification:
    """One verification, in as many rounds as it takes.

    Args:
        directory, anchors, further: as of `verify`.
        pool: who checks.
    """

    def __init__(self, directory: Path, anchors: Anchors, further: tuple[Path, ...], pool: Workers) -> None:
        self._directory, self._anchors, self._further, self._pool = directory, anchors, further, pool
        self._log, self._archive = Log(directory), Archive(directory)
        self._batches: dict[str, BatchResult] = {}
        self._segments: dict[Key, SegmentResult] = {}
        self._held: dict[str, None] = {}  # batches that were held against the log

    def run(self) -> Report:
        """What is found.

        Raises:
            StoreError: nothing is sealed here, or something may not be read.
        """
        if not self._log.exists and self._log.read_note() is None:
            if not self._anchors:
                raise StoreError(
                    f"nothing is sealed in {self._directory}", hint="begin with 'pythonaudit keys init'"
                )
            what = incomplete("the log is not there: nothing can be held against what was given")
            return Report([judge(str(self._directory), "archive", NO_ANCHOR, 0, [what])], is_anchored=True)
        return self._run_rounds()

    def _run_rounds(self) -> Report:
        seen = None
        for _ in range(_ROUNDS):
            snapshot = self._look()
            state = snapshot.log.size, snapshot.after.keys()
            self._check(snapshot)
            if state == seen or not self._doubts(snapshot):
                break
            seen = state
        return self._report(snapshot)

    def _look(self) -> Snapshot:
        before = self._archive.read_manifest()
        checker = Checker(self._log.read_note(), self._anchors)
        damaged = []
        for first, path in self._log.files():
            try:
                for number, (line, _) in enumerate(read_lines(path), first):
                    checker.add(number, line)
            except FormatError as error:
                damaged.append(tampered(f"seal/{error}"))
        log = checker.finish(self._log.read_note())
        log.findings += damaged
        after = self._archive.read_manifest()
        return Snapshot(before, log, after, *self._list_journal())

    def _list_journal(self) -> tuple[dict[Key, list[SegmentHead]], dict[tuple[str, int], str]]:
        journal = Journal(self._directory, self._further)
        there = any((place / "journal").is_dir() for place in (self._directory, *self._further))
        heads: dict[Key, list[SegmentHead]] = defaultdict(list)
        for head in journal.heads() if there else ():
            heads[head.key].append(head)
        unreadable = {}
        for one in journal.damage():
            process, sequence = parse_name(one.path)
            if process is not None and sequence is not None:
                unreadable[process, sequence] = f"{one.path}: {one.reason}"
        return dict(heads), unreadable

    def _check(self, snapshot: Snapshot) -> None:
        """Checks what has not been checked in an earlier round."""
        account = snapshot.log.account
        self._batches = {name: found for name, found in self._batches.items() if not found.gone}
        tasks: list[tuple[BatchTask | SegmentTask, int]] = []
        for batch in self._standing(snapshot):
            if batch.name not in self._batches:
                tasks.append((self._batch_task(snapshot, batch), batch.rows("events")))
        sealed = {segment.key: segment for segment in account.segments()}
        for key, heads in snapshot.heads.items():
            segment = sealed.get(key)
            if key in self._segments or key in snapshot.places or (segment and segment.gone):
                continue
            wanted = _wanted(segment) if segment and segment.count else None
            tasks.append((SegmentTask(self._directory, heads[0], wanted), heads[0].header.used // _BYTES_AN_EVENT))
        for task, result in self._pool.run(tasks):
            if isinstance(task, BatchTask) and isinstance(result, BatchResult):
                self._batches[task.name] = result
            elif isinstance(task, SegmentTask) and isinstance(result, SegmentResult):
                self._segments[task.head.key] = result

    def _standing(self, snapshot: Snapshot) -> Iterator[SealedBatch]:
        """Batches whose parts have to be what was sealed."""
        for name, batch in snapshot.log.account.batches.items():
            if name in snapshot.counting:
                yield batch
            elif batch.state == "dropped" and name in snapshot.after:
                found = self._batches.get(name)
                if not (found and found.gone):  # else it is just being removed
                    yield batch

    def _batch_task(self, snapshot: Snapshot, batch: SealedBatch) -> BatchTask:
        captures = snapshot.log.account.captures
        segments = {}
        for key, closed in batch.segments.items():
            segments[key] = _wanted(captures[key[0], key[2]].segments[key[1]], closed.row)
        return BatchTask(self._directory, batch.name, batch.parts, segments, batch.is_loose)

    def _doubts(self, snapshot: Snapshot) -> bool:
        """Whether something is not there that may have moved meanwhile."""
        if not snapshot.counting <= snapshot.after.keys():
            return True
        if any(found.gone for found in self._batches.values()):
            return True
        missing = False
        for segment in snapshot.log.account.segments():
            if snapshot.is_live(segment):
                found = self._segments.get(segment.key)
                if found is None or not found.is_there:
                    self._segments.pop(segment.key, None)
                    missing = True
        return missing

    def _report(self, snapshot: Snapshot) -> Report:
        log, account = snapshot.log, snapshot.log.account
        self._held = {batch.name: None for batch in self._standing(snapshot)}
        verdicts = [self._judge_capture(snapshot, capture) for capture in account.captures.values()]
        for name in self._held:
            verdicts += self._judge_parts(log, account.batches[name])
        wanted = self._allowed(snapshot) | self._lost(snapshot)
        verdicts += judge_manifest(log, snapshot.before, snapshot.after, wanted)
        report = Report(records=log.size, uncovered=log.uncovered, newest_ns=log.time_ns)
        report.is_anchored = bool(self._anchors)
        for key, found in self._segments.items():
            if key not in snapshot.places:
                report.unsealed += found.unsealed
                report.unsealed_segments += found.unsealed > 0
        report.notes = self._notes(snapshot)
        report.verdicts = [self._judge_archive(snapshot, verdicts), *verdicts]
        return report

    def _allowed(self, snapshot: Snapshot) -> set[str]:
        """Batches that may be in the manifest, and have to be as far as they count."""
        return snapshot.counting

    def _lost(self, snapshot: Snapshot) -> set[str]:
        """The last batch, if it is in the manifest no more: its segments have been let go since it was there."""
        account = snapshot.log.account
        last = account.batches.get(account.last_batch)
        if last is None or last.name in snapshot.counting or last.state != "counts":
            return set()
        found = [self._segments.get(key) for key in last.segments if key not in snapshot.places]
        return {last.name} if any(one is None or not one.is_there for one in found) else set()

    def _judge_capture(self, snapshot: Snapshot, capture: Capture) -> Verdict:
        findings = list(capture.findings)
        for segment in capture.segments.values():
            for name in self._held.keys() & set(snapshot.places.get(segment.key, ())):
                findings += self._batches[name].segments.get(segment.key, ())
            if snapshot.is_live(segment):
                findings += self._live_findings(snapshot, segment)
        anchor = snapshot.log.anchor_of(capture.last)
        return judge(capture.process, "journal", anchor, capture.events, findings, _say_lost(snapshot, capture))

    def _live_findings(self, snapshot: Snapshot, segment: SealedSegment) -> list[Finding]:
        """What is wrong with a segment that the journal has to have."""
        process, sequence, _ = segment.key
        found = self._segments.get(segment.key)
        if found is None or not found.is_there:
            reasons = [one.reason for one in found.findings] if found else []
            reasons += (
                [snapshot.unreadable[process, sequence]] if (process, sequence) in snapshot.unreadable else []
            )
            what = f"segment {sequence}: {segment.count:,} sealed events are neither in the journal nor in the archive"
            return [incomplete(f"{what} ({'; '.join(reasons)})" if reasons else what)]
        findings = list(found.findings)
        if len(snapshot.heads.get(segment.key, ())) > 1:
            findings.append(tampered(f"segment {sequence} is in the journal twice"))
        return findings

    def _judge_parts(self, log: Checked, batch: SealedBatch) -> Iterator[Verdict]:
        found = self._batches[batch.name]
        since = format_time(log.account.found_ns).decode()
        note = f"it was there when sealing began: vouched for from {since} on" if batch.is_found else ""
        for part in batch.parts:
            events = part.rows if part.table == "events" else 0
            yield judge(
                part.path, "part", log.anchor_of(batch.number), events, found.parts.get(part.path, ()), note
            )

    def _judge_archive(self, snapshot: Snapshot, verdicts: list[Verdict]) -> Verdict:
        log = snapshot.log
        findings = [*log.findings, *log.account.findings]
        for name in snapshot.counting:
            findings += self._batches[name].findings
        for kind, plural in (("journal", "journals"), ("part", "parts")):
            bad = [one for one in verdicts if one.kind == kind and not one.is_fine]
            if bad:
                worst = TAMPERED if any(one.verdict == TAMPERED for one in bad) else INCOMPLETE
                findings.append(Finding(worst, f"{len(bad):,} {plural if len(bad) > 1 else kind} not fine"))
        events = sum(capture.events for capture in log.account.captures.values())
        anchor = log.anchor_of(log.size - 1)
        if anchor != NO_ANCHOR and log.by_checkpoint:
            anchor = log.anchor_of(0)
        return judge(log.origin or "?", "archive", anchor, events, findings, _say_anchor(anchor, log))

    def _notes(self, snapshot: Snapshot) -> list[str]:
        account = snapshot.log.account
        found = []
        if account.found_segments or any(batch.is_loose for batch in account.batches.values()):
            since = format_time(account.found_ns).decode()
            found.append(f"what was recorded before sealing began is vouched for from {since} on")
        lost = [(capture.process, _say_lost(snapshot, capture)) for capture in account.captures.values()]
        found += [f"journal {process}: {what}" for process, what in lost if what and "gone" in what]
        if account.dropped_events:
            found.append(f"retention dropped {account.dropped_events:,} events, as records say")
        counting = [account.batches[name] for name in {*self._held, account.last_batch} if name]
        strangers = self._archive.strangers({part.path for batch in counting for part in batch.parts})
        if strangers:
            what = (
                f"files in the archive that no entry names: {len(strangers):,}, such as {strangers[0]}; left by a"
            )
            found.append(
                f"{what} writer that was killed or is at work, or put there by somebody, and seen by globs"
            )
        return found


def judge_manifest(
    log: Checked, before: Mapping[str, bytes | str], after: Mapping[str, bytes | str], counting: Set[str]
) -> Iterator[Verdict]:
    """What is wrong with entries of the manifest: a verdict on each that is not fine.

    Args:
        log: read between the two.
        before, after: entries by batch, or why they cannot be read.
        counting: batches that have to be there.
    """
    batches = log.account.batches
    replaced = {name for standing in after if standing in batches for name in batches[standing].replaces}
    for name in sorted(before.keys() | after.keys() | counting):
        batch, entry = batches.get(name), after.get(name, before.get(name))
        finding = None
        if batch is None or batch.state == "void":
            if name in before:
                is_cut = any(one.verdict == INCOMPLETE for one in log.findings)
                finding = (
                    incomplete("no record that is there names it") if is_cut else tampered("no record names it")
                )
        elif entry is None:
            if name in counting:
                finding = incomplete(f"not there: {batch.rows('events'):,} events are not shown")
        elif isinstance(entry, str):
            finding = tampered(f"cannot be read: {entry}")
        elif hashlib.sha256(entry).hexdigest() != batch.entry:
            finding = tampered("changed: its SHA-256 is not what was sealed")
        elif batch.state == "replaced" and name in after.keys() - replaced - counting:
            finding = tampered("it was replaced by another, and counts again")
        if finding:
            anchor = log.anchor_of(batch.number) if batch else NO_ANCHOR
            events = batch.rows("events") if batch else 0
            yield judge(f"manifest/{name}.json", "part", anchor, events, [finding])


def _say_anchor(anchor: str, log: Checked) -> str:
    """What a verdict without findings is worth."""
    newest = format_time(log.time_ns).decode()
    if anchor == NO_ANCHOR:
        return f"newest checkpoint of {newest}"
    if not log.by_checkpoint:
        return (
            f"newest checkpoint of {newest}; that newer ones, and what they covered, were removed would only be seen "
            "with a checkpoint from outside"
        )
    return f"{log.by_checkpoint:,} of {log.size:,} records are those of the given checkpoint; newest of {newest}"


def _say_lost(snapshot: Snapshot, capture: Capture) -> str:
    """What of a journal is not there, with a record that says why."""
    evicted = sum(segment.count for segment in capture.segments.values() if segment.gone)
    dropped = 0
    for segment in capture.segments.values():
        places = snapshot.places.get(segment.key, ())
        if places and not snapshot.counting.intersection(places):
            dropped += segment.count
    found = [f"{evicted:,} events gone before they were archived"] if evicted else []
    found += [f"{dropped:,} events dropped by retention"] if dropped else []
    return f"{' and '.join(found)}, as records say" if found else ""


def _wanted(segment: SealedSegment, row: str | None = None) -> Wanted:
    return Wanted(segment.key[1], tuple(segment.events), segment.count, row)
