"""What goes and what stays: by age, by size, with holds; and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pythonaudit.agent.config import Hold
from pythonaudit.archive import retention
from pythonaudit.archive.compact import compact
from pythonaudit.archive.dropped import load_dropped
from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.retention import Report
from pythonaudit.archive.sealer import Sealer
from pythonaudit.errors import StoreError
from pythonaudit.integrity.writer import Writer
from pythonaudit.journal import layout
from pythonaudit.journal.reader import Journal
from tests.archives import DAY_NS, alive, archived_journal, lines, move, process_of, segments, table
from tests.journal_writer import BEGIN_NS, SegmentWriter
from tests.retained import DAY, FOREVER, NOW_NS, fill, fill_sealed, keep, left, limits, put, sealed
from tests.seals import check_sealed, records


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    fill(tmp_path, 40, 31, 30, 1)
    report = keep(tmp_path, limits(age=30.5 * DAY))
    assert (report.batches, report.events, report.held, report.over) == (2, 6, {}, 0)
    assert report.bytes > 0
    assert report.begin_ns and report.end_ns and report.begin_ns < report.end_ns < NOW_NS - 30 * DAY_NS
    assert left(tmp_path) == {3, 4}
    assert set(table(tmp_path)["process"].to_pylist()) == {process_of(one).hex() for one in (3, 4)}
    assert len(table(tmp_path, "segments")) == len(table(tmp_path, "stacks").group_by("batch").aggregate([])) == 2
    said = load_dropped(Archive(tmp_path))
    assert (said.batches, said.events, said.begin_ns, said.end_ns) == (2, 6, report.begin_ns, report.end_ns)
    assert said.segments == frozenset()  # nothing is left of these processes
    again = keep(tmp_path, limits(age=30.5 * DAY))
    assert again == Report()


def test_the_oldest_go_until_it_fits(tmp_path: Path) -> None:
    fill(tmp_path, 2, 9, 5, 7)
    sizes = {entry.newest_ns: retention.size_of(entry) for entry in Archive(tmp_path).entries()}
    newest, next_ = (sizes[time] for time in sorted(sizes, reverse=True)[:2])
    report = keep(tmp_path, limits(size=newest + next_))
    assert (report.batches, report.over) == (2, 0)
    assert left(tmp_path) == {1, 3}
    assert keep(tmp_path, limits(size=newest + next_ - 1)).batches == 1
    assert keep(tmp_path, limits(size=1)).batches == 1
    assert lines(archived_journal(tmp_path)) == []


def test_nothing_goes_by_itself(tmp_path: Path) -> None:
    fill(tmp_path, 4000)
    assert keep(tmp_path, FOREVER) == Report()
    assert left(tmp_path) == {1}


def test_the_newest_event_of_a_batch_decides(tmp_path: Path) -> None:
    put(tmp_path, 1, 40)
    put(tmp_path, 2, 10)
    move(tmp_path)
    assert keep(tmp_path, limits(age=30 * DAY)).batches == 0
    assert keep(tmp_path, limits(age=9 * DAY)).batches == 1


def test_times_in_the_future_keep_nothing_for_ever(tmp_path: Path) -> None:
    """An event that says that it is of the year 2100 is as old as the batch in which it was written."""
    put(tmp_path, 1, -30_000)
    move(tmp_path)
    (entry,) = Archive(tmp_path).entries()
    assert entry.newest_ns == entry.written_ns
    assert keep(tmp_path, limits(age=DAY), now_ns=entry.written_ns + 2 * DAY_NS).batches == 1


@pytest.mark.parametrize(
    ("hold", "stay"),
    [
        (Hold("a", "b"), {1, 2, 3}),
        (Hold("a", "b", since_ns=BEGIN_NS - 41 * DAY_NS, until_ns=BEGIN_NS - 39 * DAY_NS), {2}),
        (Hold("a", "b", until_ns=BEGIN_NS - 49 * DAY_NS), {1}),
        (Hold("a", "b", until_ns=BEGIN_NS - 50 * DAY_NS), set()),
        (Hold("a", "b", since_ns=BEGIN_NS - 31 * DAY_NS), {3}),
        (Hold("a", "b", host="db-*"), {2}),
        (Hold("a", "b", host="DB-*"), set()),
        (Hold("a", "b", run="deploy-*"), {3}),
        (Hold("a", "b", run="deploy-*", host="db-*"), set()),
        (Hold("a", "b", run="*", until_ns=BEGIN_NS - 35 * DAY_NS), {1, 2}),
        (Hold("a", "b", run="?*"), {3}),
    ],
)
def test_what_a_hold_touches_stays(tmp_path: Path, hold: Hold, stay: set[int]) -> None:
    put(tmp_path, 1, 50, host="web-1")
    move(tmp_path)
    put(tmp_path, 2, 40, host="db-1")
    move(tmp_path)
    put(tmp_path, 3, 30, host="web-1", run="deploy-7")
    move(tmp_path)
    report = keep(tmp_path, limits(age=DAY, size=1), hold)
    assert left(tmp_path) == stay
    assert len(report.held) == len(stay)
    assert all(names == {"a"} for names in report.held.values())
    assert (report.over > 0) == bool(stay)
    assert keep(tmp_path, limits(age=DAY)).batches == len(stay)


def test_where_nobody_can_tell_a_hold_by_run_holds(tmp_path: Path) -> None:
    fill(tmp_path, 40)
    archive = Archive(tmp_path)
    (entry,) = archive.entries()
    archive.path(entry.of("segments")[0]).write_bytes(b"no Parquet")
    assert keep(tmp_path, limits(age=DAY), Hold("a", "b", run="deploy-7")).batches == 0
    assert keep(tmp_path, limits(age=DAY), Hold("a", "b", host="db-1")).batches == 1


def test_a_batch_without_events_is_as_old_as_it_was_written(tmp_path: Path) -> None:
    put(tmp_path, 1, 40, events=0)
    move(tmp_path)
    (entry,) = Archive(tmp_path).entries()
    assert keep(tmp_path, limits(age=DAY), now_ns=entry.written_ns).batches == 0
    hold = Hold("a", "b", until_ns=BEGIN_NS - 39 * DAY_NS)
    assert keep(tmp_path, limits(age=DAY), hold, now_ns=entry.written_ns + 2 * DAY_NS).batches == 0
    assert keep(tmp_path, limits(age=DAY), now_ns=entry.written_ns + 2 * DAY_NS).batches == 1


def test_what_is_still_in_the_journal_does_not_come_back(tmp_path: Path) -> None:
    """The files of a running process stay, for further use: their events are gone all the same."""
    for sequence in range(3):
        state = layout.STATE_OPEN if sequence == 2 else layout.STATE_ROTATED
        put(tmp_path, 1, 40, sequence, state=state, **alive())
    move(tmp_path)
    reader = archived_journal(tmp_path)
    assert len(lines(reader)) == 9
    assert keep(tmp_path, limits(age=DAY, journal_age=1.0)).batches == 1
    assert len(segments(tmp_path)) == 3
    for journal in (reader, archived_journal(tmp_path)):
        assert len(lines(journal)) == 3
        assert journal.survey().losses == []
    assert move(tmp_path).segments == 0
    assert (tmp_path / "drained" / process_of(1).hex()).read_bytes()[24:28] == b"\2\0\0\0"
    assert len(load_dropped(Archive(tmp_path)).segments) == 2
    for path in segments(tmp_path):
        path.unlink()
    put(tmp_path, 2, 40)
    move(tmp_path)
    keep(tmp_path, limits(age=DAY))
    assert load_dropped(Archive(tmp_path)).segments == frozenset()


def test_what_went_is_not_missing(tmp_path: Path) -> None:
    for sequence, age in enumerate((40, 39, 2)):
        state = layout.STATE_CLEAN_END if sequence == 2 else layout.STATE_ROTATED
        put(tmp_path, 1, age, sequence, state=state)
    move(tmp_path, 1)
    assert keep(tmp_path, limits(age=3 * DAY)).batches == 2
    assert archived_journal(tmp_path).survey().losses == []


def test_somebody_who_reads_meanwhile_sees_what_is_left(tmp_path: Path) -> None:
    fill(tmp_path, 40, 30, 1)
    journal = archived_journal(tmp_path)
    events = journal.events()
    first = next(events)
    keep(tmp_path, limits(age=2 * DAY))
    rest = [int(event.process.id, 16) for event in events]
    assert int(first.process.id, 16) == 1
    assert set(rest) <= {1, 2, 3} and 3 in rest
    assert journal.archived is not None and journal.archived.problems() == []


def test_entries_of_a_later_version_do_not_stop_it(tmp_path: Path) -> None:
    fill(tmp_path, 40)
    archive = Archive(tmp_path)
    (entry,) = archive.entries()
    later = archive.root / "manifest" / "ffffffffffffffff-00000000.json"
    later.write_text(json.dumps({"format": 2}))
    assert keep(tmp_path, limits(age=DAY)).batches == 1
    assert later.exists()
    assert not any(archive.path(part).exists() for part in entry.parts)


def test_a_segment_writer_of_no_host(tmp_path: Path) -> None:
    """Events of no host are matched by `*` alone."""
    writer = SegmentWriter(begin_ns=BEGIN_NS - 40 * DAY_NS, attributes={"python": "3.11.7"})
    writer.thread().event("open", ["/x"])
    writer.save(tmp_path)
    move(tmp_path)
    assert keep(tmp_path, limits(age=DAY), Hold("a", "b", host="*")).batches == 0
    assert keep(tmp_path, limits(age=DAY), Hold("a", "b", host="web-*")).batches == 1


# The log.


def test_what_goes_is_told_before(tmp_path: Path) -> None:
    sealer = sealed(tmp_path)
    fill_sealed(tmp_path, sealer, 40, 39, 20, 1)
    entries = Archive(tmp_path).entries()
    small = retention.size_of(entries[3])
    report = keep(tmp_path, limits(age=30 * DAY, size=small), sealer=sealer)
    assert report.batches == 3
    by_age, by_size = records(tmp_path, "dropped")
    assert by_age["batches"] == [entry.batch for entry in entries[:2]]
    assert (by_age["rule"], by_age["events"], by_size["rule"], by_size["events"]) == ("age", 6, "size", 3)
    assert (by_age["begin_ns"], by_size["end_ns"]) == (report.begin_ns, report.end_ns)
    parts = [(part.path, part.sha256) for entry in entries[:2] for part in entry.parts]
    assert [(part["path"], part["sha256"]) for part in by_age["parts"]] == parts
    assert check_sealed(tmp_path) == 3
    before = len(records(tmp_path))
    keep(tmp_path, limits(age=30 * DAY, size=small), sealer=Sealer(Writer(tmp_path)))
    assert len(records(tmp_path)) == before


def test_what_is_in_force_is_told_when_it_changes(tmp_path: Path) -> None:
    sealer = sealed(tmp_path)
    hold = Hold("case-17", "a letter", since_ns=5, host="web-*")
    keep(tmp_path, limits(age=DAY), hold, sealer=sealer)
    keep(tmp_path, limits(age=DAY), hold, sealer=sealer)
    keep(tmp_path, limits(age=2 * DAY), Hold("case-17", "a letter", since_ns=4), sealer=sealer)
    keep(tmp_path, limits(age=2 * DAY), sealer=Sealer(Writer(tmp_path)))
    settings = [(one["name"], one["value"]) for one in records(tmp_path, "setting")]
    assert settings == [
        ("retention.age", DAY),
        ("retention.size", None),
        ("retention.journal_age", None),
        ("retention.age", 2 * DAY),
    ]
    placed, changed, lifted = records(tmp_path, "hold")
    assert {k: placed[k] for k in placed if k != "time_ns"} == {
        "record": "hold",
        "action": "place",
        "hold": "case-17",
        "reason": "a letter",
        "since_ns": 5,
        "host": "web-*",
    }
    assert (changed["action"], changed["since_ns"], "host" in changed) == ("place", 4, False)
    assert (lifted["action"], lifted["hold"], lifted["reason"]) == ("lift", "case-17", "a letter")
    check_sealed(tmp_path)


class KilledError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("finish", ["retention", "ingest", "compact"])
def test_what_was_told_and_not_done_is_done_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finish: str
) -> None:
    sealer = sealed(tmp_path)
    fill_sealed(tmp_path, sealer, 40, 39, 1, 1)

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(retention.drop, "drop", killed)
        with pytest.raises(KilledError):
            keep(tmp_path, limits(age=DAY * 9), sealer=sealer)
    assert left(tmp_path) == {1, 2, 3, 4}
    later = Sealer(Writer(tmp_path))
    if finish == "retention":
        assert keep(tmp_path, FOREVER, sealer=later).batches == 0
    elif finish == "ingest":
        ingest(Journal(tmp_path), Archive(tmp_path), sealer=later)
    else:
        compact(Archive(tmp_path), sealer=later)
    assert left(tmp_path) == {3, 4}
    assert len(records(tmp_path, "dropped")) == 1
    assert check_sealed(tmp_path) == 6


def test_nothing_goes_that_cannot_be_told(tmp_path: Path) -> None:
    sealer = sealed(tmp_path)
    fill_sealed(tmp_path, sealer, 40)
    (tmp_path / "keys" / "private" / "0").unlink()
    with pytest.raises(StoreError, match="the key of this epoch is not there"):
        keep(tmp_path, limits(age=DAY), sealer=Sealer(Writer(tmp_path)))
    assert left(tmp_path) == {1}


def test_compacted_batches_go_too(tmp_path: Path) -> None:
    sealer = sealed(tmp_path)
    fill_sealed(tmp_path, sealer, 40, 40, 1, 1)
    assert compact(Archive(tmp_path), sealer=sealer) == 4
    assert keep(tmp_path, limits(age=DAY * 9), sealer=sealer).events == 6
    assert check_sealed(tmp_path) == 6
