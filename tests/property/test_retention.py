"""Whatever the batches, holds and limits: what is held stays, and the rest is within the limits, the newest first."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pythonaudit.agent.config import Hold, Retention
from pythonaudit.archive.compact import compact
from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.retention import apply, size_of
from pythonaudit.journal.reader import Journal
from tests.archives import DAY_NS, archived_journal, process_of, write
from tests.journal_writer import BEGIN_NS
from tests.seals import begin_seal, check_sealed, records

HOUR_NS = DAY_NS // 24


@dataclass(frozen=True)
class Segment:
    """What one process did: in a batch of its own, or with others."""

    age_hours: int
    host: str
    run: str | None
    events: int

    @property
    def time_ns(self) -> int:
        return BEGIN_NS - self.age_hours * HOUR_NS

    def is_held(self, hold: Hold) -> bool:
        # Its events take well below a second.
        return (
            (hold.since_ns is None or self.time_ns + 1_000_000 >= hold.since_ns)
            and (hold.until_ns is None or self.time_ns < hold.until_ns)
            and (hold.host is None or fnmatchcase(self.host, hold.host))
            and (hold.run is None or fnmatchcase(self.run or "", hold.run))
        )


segments = st.builds(
    Segment,
    age_hours=st.integers(0, 24 * 10),
    host=st.sampled_from(["web-1", "web-2", "db-1"]),
    run=st.sampled_from([None, "a", "b"]),
    events=st.integers(0, 40),
)
moments = st.none() | st.integers(0, 24 * 10).map(lambda hours: BEGIN_NS - hours * HOUR_NS + HOUR_NS // 2)
holds = st.lists(
    st.builds(
        Hold,
        name=st.uuids().map(str),
        reason=st.just("a letter"),
        since_ns=moments,
        until_ns=moments,
        host=st.sampled_from([None, "web-*", "db-1", "*"]),
        run=st.sampled_from([None, None, "a", "?"]),
    ),
    max_size=2,
)
limits = st.builds(
    Retention,
    age=st.none() | st.integers(1, 24 * 10).map(lambda hours: hours * 3600.0),
    size=st.none() | st.integers(1, 100_000),
    journal_age=st.none(),
)


@given(st.lists(segments, min_size=1, max_size=6), holds, limits, st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_retention(
    made: list[Segment], some: list[Hold], limit: Retention, seal: bool, together: bool, compacted: bool
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        directory = Path(place)
        (directory / "journal").mkdir()
        sealer = begin_seal(directory) if seal else None
        archive = Archive(directory)
        for process, one in enumerate(made, 1):
            attributes = {"host": one.host} | ({"run": one.run} if one.run else {})
            write(directory, process, events=one.events, begin_ns=one.time_ns, attributes=attributes)
            if not together:
                ingest(Journal(directory), archive, sealer=sealer)
        if together:
            ingest(Journal(directory), archive, sealer=sealer)
        if compacted:
            compact(archive, sealer=sealer, holds=some)
        before = {entry.batch: entry for entry in archive.entries()}
        members = batches_of(directory)
        report = apply(archive, Journal(directory), limit, some, sealer, BEGIN_NS)
        after = {entry.batch for entry in archive.entries()}
        gone = before.keys() - after
        held = {
            batch
            for batch, processes in members.items()
            if any(made[process - 1].is_held(hold) for process in processes for hold in some)
        }
        # Of a batch of several, one can be of the time and another of the run: then it stays too.
        close = {
            batch
            for batch, processes in members.items()
            if any(
                any(made[process - 1].is_held(replace(hold, run=None)) for process in processes)
                and any(fnmatchcase(made[process - 1].run or "", hold.run or "*") for process in processes)
                for hold in some
            )
        }
        assert held.isdisjoint(gone)
        assert report.held.keys() <= close
        assert report.batches == len(gone)
        free = after - held - report.held.keys()
        newest = {batch: entry.newest_ns for batch, entry in before.items()}
        if limit.age is not None:
            assert all(newest[batch] >= BEGIN_NS - int(limit.age * 1e9) for batch in free)
        if limit.size is not None:
            total = sum(size_of(before[batch]) for batch in after)
            assert total <= limit.size or not free
            assert report.over == max(0, total - limit.size)
        if gone and free:
            assert max(newest[batch] for batch in gone) <= min(newest[batch] for batch in free)
        if limit.size is None and limit.age is None:
            assert not gone
        left = [event.process.id for event in archived_journal(directory).events()]
        expected = {process for batch in after for process in members[batch] if made[process - 1].events}
        assert {int(process, 16) for process in left} == expected
        assert len(left) == sum(made[process - 1].events for process in expected)
        if seal:
            assert check_sealed(directory) == len(left)
            told = [batch for record in records(directory, "dropped") for batch in record["batches"]]
            assert set(told) == gone


def batches_of(directory: Path) -> dict[str, list[int]]:
    """The processes in each batch."""
    archived = archived_journal(directory).archived
    assert archived is not None
    archived.refresh()
    found: dict[str, list[int]] = {}
    for number in range(1, 7):
        place = archived._places.get((process_of(number).hex(), 0, os.geteuid()))  # type: ignore[attr-defined]
        if place:
            found.setdefault(place.batch, []).append(number)
    return found
