"""The archive beside a journal, while segments move from one to the other."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pythonaudit.archive.compact import compact
from pythonaudit.archive.manifest import Archive
from pythonaudit.journal import layout
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.follow import Follower
from pythonaudit.journal.reader import Journal
from pythonaudit.journal.segment import Column
from pythonaudit.query.connection import connect
from tests.archives import alive, archived_journal, lines, move, process_of, segments, write


def test_both_are_one(tmp_path: Path) -> None:
    write(tmp_path, 1)
    move(tmp_path)
    write(tmp_path, 2)
    journal = archived_journal(tmp_path)
    found = list(journal.events())
    assert [event.process.id for event in found] == [process_of(1).hex()] * 3 + [process_of(2).hex()] * 3
    assert [event.to_json() for event in journal.tail(4)] == [event.to_json() for event in found[-4:]]
    assert [trail.events for trail in journal.processes()] == [3, 3]


def test_an_archive_needs_no_journal(tmp_path: Path) -> None:
    write(tmp_path, 1)
    before = lines(Journal(tmp_path))
    move(tmp_path)
    for box in (tmp_path / "journal").iterdir():
        (box / "usage").unlink(missing_ok=True)
        box.rmdir()
    (tmp_path / "journal").rmdir()
    assert lines(archived_journal(tmp_path)) == before


def test_filters_hold_in_the_archive(tmp_path: Path) -> None:
    for process in (1, 2):
        write(tmp_path, process)
    every = list(Journal(tmp_path).events())
    move(tmp_path)
    journal = archived_journal(tmp_path)
    middle = every[3].time_ns
    assert lines(journal, EventFilter(since_ns=middle)) == [event.to_json() for event in every[3:]]
    assert lines(journal, EventFilter(until_ns=middle)) == [event.to_json() for event in every[:3]]
    assert lines(journal, EventFilter(processes=(process_of(2).hex(),))) == [e.to_json() for e in every[3:]]
    assert lines(journal, EventFilter(paths=("/srv/1/*",))) == [e.to_json() for e in every[:3]]
    assert lines(journal, EventFilter(names=("exec",))) == []
    assert journal.to_arrow(EventFilter(since_ns=middle)).num_rows == 3


LATER = {"events": ["context", "thread", "package", "version"], "stacks": ["library"], "segments": ["canary"]}


def make_earlier(archive: Archive) -> None:
    """Takes out of an archive the columns that an earlier version could not know."""
    for entry in archive.entries():
        parts = []
        for part in entry.parts:
            path = archive.path(part)
            pq.write_table(pq.read_table(path, partitioning=None).drop_columns(LATER[part.table]), path)
            data = path.read_bytes()
            parts.append(replace(part, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
        with archive.lock():
            archive.commit(replace(entry, parts=tuple(parts)))


def test_columns_of_a_later_version_are_null(tmp_path: Path) -> None:
    """Read as it is, put together with a batch that has them, and asked in SQL."""
    write(tmp_path, 1)
    move(tmp_path)
    make_earlier(Archive(tmp_path))
    write(tmp_path, 2)
    expected = lines(archived_journal(tmp_path))
    assert len(expected) == 6
    move(tmp_path)
    assert lines(archived_journal(tmp_path)) == expected
    with connect(archived_journal(tmp_path)) as connection:
        assert connection.execute("SELECT count(*), count(package) FROM events").fetchall() == [(6, 0)]
    assert compact(Archive(tmp_path)) == 2
    assert lines(archived_journal(tmp_path)) == expected
    assert Archive(tmp_path).problems() == []


@pytest.mark.parametrize("steps", [("ingest",), ("ingest", "compact")])
def test_moved_between_the_look_and_the_reading(tmp_path: Path, steps: tuple[str, ...]) -> None:
    """The journal has been listed; then segments are archived, removed, and put together."""
    for process in range(1, 5):
        write(tmp_path, process)
    expected = lines(Journal(tmp_path))
    journal = archived_journal(tmp_path)
    events = journal.events()
    move(tmp_path, 1)
    if "compact" in steps:
        compact(Archive(tmp_path))
    assert segments(tmp_path) == []
    assert [event.to_json() for event in events] == expected


def test_put_together_between_the_look_and_the_reading(tmp_path: Path) -> None:
    for process in range(1, 5):
        write(tmp_path, process)
    move(tmp_path, 1)
    expected = lines(archived_journal(tmp_path))
    journal = archived_journal(tmp_path)
    events = journal.events()
    first = next(events).to_json()
    compact(Archive(tmp_path))
    assert [first, *(event.to_json() for event in events)] == expected
    assert lines(journal) == expected
    archived = journal.archived
    assert archived is not None
    assert Archive(tmp_path).problems() == []


def test_in_both_counts_once(tmp_path: Path) -> None:
    """A running process's segment stays in the journal until it is used again."""
    write(tmp_path, 1, 0, state=layout.STATE_ROTATED, **alive())
    write(tmp_path, 1, 1, state=layout.STATE_OPEN, **alive())
    expected = lines(Journal(tmp_path))
    move(tmp_path)
    assert len(segments(tmp_path)) == 2
    journal = archived_journal(tmp_path)
    assert lines(journal) == expected
    stop = threading.Event()
    stop.set()
    assert [event.to_json() for event in journal.follow(stop=stop, last=None)] == expected


def test_whoever_follows_misses_nothing_that_moves(tmp_path: Path) -> None:
    """Between two looks: a watched segment grows, is closed, archived and removed; another comes and goes."""
    options = alive()
    write(tmp_path, 1, 0, 2, state=layout.STATE_OPEN, **options)
    journal = archived_journal(tmp_path)
    follower = Follower(journal)
    follower.begin()
    for path in segments(tmp_path):
        path.unlink()
    write(tmp_path, 1, 0, 5, state=layout.STATE_CLEAN_END)
    write(tmp_path, 2, 0, 3)
    move(tmp_path, 1)
    compact(Archive(tmp_path))
    write(tmp_path, 3)
    found = [e for _ in range(4) for d in follower.poll() for e in d.events(range_of(len(d.segment.events)))]
    seen = sorted((int(event.process.id, 16), event.number) for event in found)
    assert seen == [(1, 2), (1, 3), (1, 4), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2)]


def range_of(count: int) -> Column:

    return np.arange(count)


def damaged_part(directory: Path, table: str) -> Path:
    (path,) = (directory / "archive" / table).rglob("*.parquet")
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("table", ["events", "stacks", "segments"])
@pytest.mark.parametrize("what", ["damaged", "absent", "empty"])
def test_a_damaged_part_costs_that_part(tmp_path: Path, table: str, what: str) -> None:
    write(tmp_path, 1)
    move(tmp_path)
    path = damaged_part(tmp_path, table)
    if what == "absent":
        path.unlink()
    elif what == "empty":
        path.write_bytes(b"")
    write(tmp_path, 2)
    move(tmp_path)
    journal = archived_journal(tmp_path)
    found = [event.process.id for event in journal.events()]
    kept = 3 if table == "stacks" else 0
    assert found == [process_of(1).hex()] * kept + [process_of(2).hex()] * 3
    archived = journal.archived
    assert archived is not None
    assert str(path) in " ".join(archived.problems())
    assert compact(Archive(tmp_path)) == 0  # it is left as it is
    assert lines(archived_journal(tmp_path)) == lines(journal)


def test_a_process_whose_segment_has_moved_since_the_look(tmp_path: Path) -> None:
    write(tmp_path, process=1)
    journal = archived_journal(tmp_path)
    (head,) = journal.heads()
    before = journal.process(head)
    move(tmp_path)
    after = journal.process(head)
    assert before and after and (after.id, after.pid) == (before.id, before.pid)
