"""Only what goes together is put together."""

from __future__ import annotations

from pathlib import Path

from pythonaudit.agent.config import Hold
from pythonaudit.archive.compact import compact
from pythonaudit.archive.manifest import Archive
from tests.archives import DAY_NS, move
from tests.journal_writer import BEGIN_NS
from tests.retained import NOW_NS, fill, keep, left, limits, put


def days_of(directory: Path) -> list[set[int]]:
    """The days before NOW of each batch's events."""
    archive = Archive(directory)
    return [
        {round((BEGIN_NS - (part.begin_ns or 0)) / DAY_NS) for part in entry.of("events")}
        for entry in archive.entries()
    ]


def test_days_are_not_put_together(tmp_path: Path) -> None:
    fill(tmp_path, 3, 1, 3, 1, 2, 3)
    assert compact(Archive(tmp_path)) == 5
    assert sorted(map(sorted, days_of(tmp_path))) == [[1], [2], [3]]
    assert left(tmp_path) == {1, 2, 3, 4, 5, 6}
    assert compact(Archive(tmp_path)) == 0


def test_what_is_held_is_not_put_together_with_what_is_not(tmp_path: Path) -> None:
    fill(tmp_path, 1, 1, host="web-1")
    for process in (3, 4):
        put(tmp_path, process, 1, host="db-1")
        move(tmp_path)
    hold = Hold("a", "b", host="db-*")
    assert compact(Archive(tmp_path), holds=[hold]) == 4
    assert len(Archive(tmp_path).entries()) == 2
    keep(tmp_path, limits(age=1.0), hold)
    assert left(tmp_path) == {3, 4}


def test_segments_without_events_are_put_together_with_others(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    for process in (2, 3):
        put(tmp_path, process, 3, events=0)
        move(tmp_path)
    assert compact(Archive(tmp_path)) == 3
    (entry,) = Archive(tmp_path).entries()
    assert entry.newest_ns < NOW_NS - 2 * DAY_NS
