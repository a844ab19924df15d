"""Which part an event goes to: one for each day and host."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pyarrow.parquet as pq
import pytest

from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.parts import ABSENT, directory_of
from pythonaudit.journal.reader import Journal
from tests.archives import DAY_NS, archived_journal, lines, move, process_of
from tests.journal_writer import SegmentWriter

MIDNIGHT_NS = 1_795_392_000 * 1_000_000_000
ATTRIBUTES = {"python": "3.11.7"}


def write(directory: Path, number: int, host: str | None, times: list[int]) -> None:
    attributes = ATTRIBUTES if host is None else ATTRIBUTES | {"host": host}
    writer = SegmentWriter(process=process_of(number), begin_ns=times[0], attributes=attributes)
    thread, begin = writer.thread(), writer.ticks
    for time in times:
        writer.ticks = begin + time - times[0]
        thread.event("open", [f"/{time}"])
    writer.save(directory)


def parts(directory: Path) -> dict[str, list[str]]:
    """The paths in each part, by the directory of it."""
    archive = Archive(directory)
    (entry,) = archive.entries()
    found = {}
    for part in entry.of("events"):
        rows = pq.read_table(archive.path(part), partitioning=None)
        assert part.rows == len(rows)
        place = part.path.removeprefix("events/").rpartition("/")[0]
        assert place not in found
        found[place] = rows["path"].to_pylist()
    return found


def test_days_across_midnight(tmp_path: Path) -> None:
    times = [MIDNIGHT_NS - 1, MIDNIGHT_NS, MIDNIGHT_NS + DAY_NS - 1, MIDNIGHT_NS + DAY_NS]
    write(tmp_path, 1, "web-1", times)
    before = lines(Journal(tmp_path))
    move(tmp_path)
    assert parts(tmp_path) == {
        "day=2026-11-22/host=web-1": [f"/{times[0]}"],
        "day=2026-11-23/host=web-1": [f"/{times[1]}", f"/{times[2]}"],
        "day=2026-11-24/host=web-1": [f"/{times[3]}"],
    }
    (entry,) = Archive(tmp_path).entries()
    for part in entry.of("events"):
        assert part.begin_ns is not None and part.end_ns is not None
        within = [time for time in times if part.begin_ns <= time <= part.end_ns]
        assert len(within) == part.rows
    assert lines(archived_journal(tmp_path)) == before


def test_hosts_have_parts_of_their_own(tmp_path: Path) -> None:
    """No name and an empty one share theirs; no other two do."""
    hosts = [None, "", "web-1", "a/b", "a%2Fb", "..", "x=y", "ü", "a b", ABSENT, "h" * 300, "h" * 299, "ü" * 50]
    for number, host in enumerate(hosts, 1):
        write(tmp_path, number, host, [MIDNIGHT_NS + number])
    before = lines(Journal(tmp_path))
    move(tmp_path)
    found = parts(tmp_path)
    assert len(found) == len(hosts) - 1
    assert len(found[f"day=2026-11-23/host={ABSENT}"]) == 2
    assert all(len(name) < 255 for place in found for name in place.split("/"))
    assert lines(archived_journal(tmp_path)) == before


@pytest.mark.parametrize("host", ["web-1", "a/b", "..", "x=y", "ü", "100%", ABSENT])
def test_names_of_directories_can_be_read_back(host: str) -> None:
    assert unquote(directory_of(host)) == host
    assert directory_of(host) != ABSENT


def test_a_journal_of_a_thousand_days_makes_no_thousand_files(tmp_path: Path) -> None:
    times = [MIDNIGHT_NS + number * DAY_NS for number in range(1001)]
    write(tmp_path, 1, "web-1", times)
    before = lines(Journal(tmp_path))
    move(tmp_path)
    assert {place: len(rows) for place, rows in parts(tmp_path).items()} == {"day=2026-11-23/host=web-1": 1001}
    assert lines(archived_journal(tmp_path)) == before
