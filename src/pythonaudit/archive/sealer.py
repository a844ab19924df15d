"""What happens to journals and archive, told to the log: events as they come, segments as they close, batches.

    sealer = Sealer(writer)
    sealer.seal(follower.poll())                     # new events of live segments: hashed, logged, covered
    ingest(journal, archive, sealer=sealer)          # seals the rest of what it moves, then the batch

Events are hashed as they were recorded (`leaves`). Records about a batch are covered by a checkpoint before the
manifest names it: whoever is killed in between leaves a batch that never was, which `reconcile` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from pythonaudit.archive import leaves
from pythonaudit.archive.covered import Covered
from pythonaudit.archive.drop import drop
from pythonaudit.archive.manifest import Archive, Entry
from pythonaudit.archive.segments import build_row
from pythonaudit.integrity.merkle import find_root
from pythonaudit.integrity.state import Key, State
from pythonaudit.integrity.writer import Writer
from pythonaudit.journal.arguments import uncollected
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.reader import Journal

Row = dict[str, Any]  # of the table `segments`

_OF_RECORD = frozenset({"record", "time_ns", "action"})


class Sealer:
    """Seals what it is given.

    Args:
        writer: of the log.
        refuse: told of a segment whose events cannot be hashed, whatever is in it, and why; the others are sealed
            all the same. None: that is raised.
        if_any: there need be no log. Whether there is one is found out by `reconcile`, under the archive's lock, so
            that nothing is archived unsealed that a log which has just begun does not know.

    Attributes:
        events: how many events were sealed here.
    """

    def __init__(
        self,
        writer: Writer,
        refuse: Callable[[SegmentDecoder, Exception], None] | None = None,
        *,
        if_any: bool = False,
    ) -> None:
        self.writer = writer
        self._refuse = refuse
        self._if_any = if_any
        self._is_idle = False
        self.events = 0

    def seal(self, decoders: Iterable[SegmentDecoder]) -> int:
        """Seals the events of segments that are not sealed yet, and covers them.

        Args:
            decoders: of segments, with all of their events or with new ones only.

        Returns:
            How many events it were.

        Raises:
            OSError, StoreError: the log cannot be written.
        """
        with self.writer.lock() as state:
            with uncollected():
                count = sum([self._seal(state, decoder) for decoder in decoders])
            if not self.writer.is_covered:
                self.writer.checkpoint()
        return count

    def seal_closed(self, decoder: SegmentDecoder) -> None:
        """Seals what is left of a segment that is being archived. It is covered with its batch.

        Raises:
            OSError, StoreError: the log cannot be written.
        """
        if self._is_idle:
            return
        with self.writer.lock() as state:
            self._seal(state, decoder)

    def archive(self, entry: Entry, rows: Sequence[Row] = ()) -> None:
        """Tells that a batch comes into the manifest, and what becomes of segments; covers it.

        Args:
            entry: the batch.
            rows: those of the segments that are new in it.

        Raises:
            OSError, StoreError: the log cannot be written; then the batch must not come into the manifest.
        """
        if self._is_idle:
            return
        with self.writer.lock() as state:
            for row in rows:
                key = row["process"], row["sequence"], row["uid"]
                said = {"events": row["events"], "row": leaves.hash_row(row), "batch": entry.batch}
                self._append_about(state, "segment", key, said)
            said = describe_batch(entry, sha256(entry.to_json().encode()).hexdigest())
            self.writer.append("batch", **said, replaces=entry.replaces)
            self.writer.checkpoint()

    def reconcile(self, archive: Archive) -> None:
        """Tells of batches that never came into the manifest, and removes those that are told to be dropped: their
        writer was killed. Under the archive's lock.

        Raises:
            OSError, StoreError: the log cannot be written, or the archive not be read or changed.
        """
        self._is_idle = self._if_any and not self.writer.log.exists
        if self._is_idle:
            return
        entries = archive.entries()
        with self.writer.lock() as state:
            missing = sorted(state.unsure_batches() - {entry.batch for entry in entries})
            for batch in missing:
                self.writer.append("void", batch=batch)
            left = [entry for entry in entries if entry.batch in state.dropped]
            if missing or left:
                self.writer.checkpoint()
        if left:
            drop(archive, left)

    def declare(self, settings: Mapping[str, Any], holds: Sequence[Mapping[str, Any]]) -> None:
        """Tells what is in force, where it is not what was told last; covers it.

        Args:
            settings: by name.
            holds: all that stand, as records have them: `hold`, `reason` and what they give.

        Raises:
            OSError, StoreError: the log cannot be written.
        """
        if self._is_idle:
            return
        with self.writer.lock() as state:
            said: list[tuple[str, dict[str, Any]]] = [
                ("setting", {"name": name, "value": value})
                for name, value in settings.items()
                if name not in state.settings or state.settings[name] != value
            ]
            names = {hold["hold"] for hold in holds}
            for name in sorted(state.holds.keys() - names):
                said.append(("hold", {"hold": name, "action": "lift", "reason": state.holds[name].get("reason")}))
            for hold in holds:
                known = {k: v for k, v in state.holds.get(hold["hold"], {}).items() if k not in _OF_RECORD}
                if known != hold:
                    said.append(("hold", {"action": "place", **hold}))
            for kind, values in said:
                self.writer.append(kind, **values)
            if said:
                self.writer.checkpoint()

    def tell_dropped(self, records: Iterable[Mapping[str, Any]], gone: Iterable[Key] = ()) -> int:
        """Tells what retention removes, before it does; covers it.

        Args:
            records: the keys of each record `dropped`.
            gone: segments that are removed from the journal.

        Returns:
            How many sealed events are lost with segments of the journal.

        Raises:
            OSError, StoreError: the log cannot be written; then nothing may be removed.
        """
        lost = 0
        if self._is_idle:
            return lost
        with self.writer.lock() as state:
            for record in records:
                self.writer.append("dropped", **record)
            for key in gone:
                sealed = state.sealed.get(key)
                if sealed is not None and key not in state.archived:
                    lost += sealed.events
                    self._append_about(state, "gone", key, {"events": sealed.events, "reason": "retention"})
            self.writer.checkpoint()
        return lost

    def gone(self, lost: Mapping[Key, str]) -> int:
        """Tells of segments that were sealed and are neither in the journal nor in the archive; covers it.

        Args:
            lost: which, and why: `evicted` or `missing`.

        Returns:
            How many of them had been sealed.

        Raises:
            OSError, StoreError: the log cannot be written.
        """
        count = 0
        with self.writer.lock() as state:
            for key, reason in lost.items():
                if key in state.sealed and key not in state.archived:
                    self._append_about(state, "gone", key, {"events": state.sealed[key].events, "reason": reason})
                    count += 1
            if count:
                self.writer.checkpoint()
        return count

    def sealed(self) -> set[Key]:
        """Segments that are sealed and not archived, as of the last record that was written here."""
        state = self.writer.state
        return set(state.sealed).difference(state.archived)

    def count(self) -> int:
        """How many events of these."""
        state = self.writer.state
        sealed = list(state.sealed.items())
        return sum(one.events for key, one in sealed if key not in state.archived)

    def _seal(self, state: State, decoder: SegmentDecoder) -> int:
        header, uid = decoder.segment.header, decoder.process.uid
        key = decoder.process.id, header.sequence, uid
        if key in state.archived:
            return 0
        known = state.sealed.get(key)
        try:
            found = leaves.of_segment(decoder, known.spans if known else None)
            identity = leaves.hash_identity(build_row(decoder, "", "", [])) if found.hashes else ""
        except Exception as error:
            if self._refuse is None:
                raise
            self._refuse(decoder, error)
            return 0
        if found.hashes:
            root = find_root(found.hashes).hex()
            said = {"identity": identity, "runs": found.runs(), "events": len(found.hashes), "root": root}
            self._append_about(state, "events", key, said)
            self.events += len(found.hashes)
        return len(found.hashes)

    def _append_about(self, state: State, kind: str, key: Key, said: dict[str, Any]) -> None:
        process, sequence, uid = key
        previous = state.previous.get((process, uid))
        self.writer.append(kind, process=process, sequence=sequence, uid=uid, **said, previous=previous)


def describe_batch(entry: Entry, digest: str) -> dict[str, Any]:
    """A batch as records have it: keys `batch`, `entry` and `parts`.

    Args:
        entry: of the batch.
        digest: of its file.
    """
    return {"batch": entry.batch, "entry": digest, "parts": describe_parts(entry)}


def describe_parts(entry: Entry) -> list[dict[str, Any]]:
    """The parts of a batch as records have them."""
    return [{"path": p.path, "rows": p.rows, "bytes": p.bytes, "sha256": p.sha256} for p in entry.parts]


def begin(writer: Writer, journal: Journal, archive: Archive, origin: str, version: str) -> None:
    """Begins a log: what is there already is named, and vouched for from now on.

    Args:
        writer: of the log.
        journal: what is in it is sealed now.
        archive: what is in it is named by its digests.
        origin: name of the log.
        version: of pythonaudit.

    Raises:
        OSError, StoreError: there is a log already, or it cannot be written.
    """
    with archive.lock():
        batches = [describe_batch(entry, archive.digest(entry)) for entry in archive.entries()]
        covered = Covered(archive)
        heads = journal.heads() if journal.directory.joinpath("journal").is_dir() else []
        heads = [head for head in heads if not covered.has(head.key)]  # those that are wait for being used again
        writer.begin(origin, version, {"batches": batches, "segments": len(heads)})
        Sealer(writer).seal(decoder for decoder in map(journal.load, heads) if decoder)
