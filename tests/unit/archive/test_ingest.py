"""What is moved, what stays, and what becomes of the files."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pytest

from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.errors import StoreError
from pythonaudit.journal import layout
from pythonaudit.journal.reader import Journal
from tests.archives import alive, archived_journal, lines, move, process_of, segments, table, write

OPEN, ROTATED, CLEAN = layout.STATE_OPEN, layout.STATE_ROTATED, layout.STATE_CLEAN_END
DAY = 86_400 * 1_000_000_000


def drained(directory: Path, process: int) -> int:
    """How many segments are said not to be wanted any more."""
    path = directory / "drained" / process_of(process).hex()
    return int(struct.unpack("<8s16sII", path.read_bytes())[2]) if path.exists() else 0


def test_what_has_ended_moves(tmp_path: Path) -> None:
    write(tmp_path, 1, 0, state=ROTATED)
    write(tmp_path, 1, 1, state=OPEN)  # of another boot: killed
    write(tmp_path, 2, 0, state=CLEAN)
    report = move(tmp_path)
    assert (report.segments, report.events, report.batches, report.open) == (3, 9, 1, 0)
    assert segments(tmp_path) == []
    again = move(tmp_path)
    assert (again.segments, again.events, again.batches) == (0, 0, 0)


def test_what_goes_on_stays_and_is_offered(tmp_path: Path) -> None:
    for sequence, state in enumerate([ROTATED, ROTATED, OPEN]):
        write(tmp_path, 1, sequence, state=state, **alive())
    report = move(tmp_path)
    assert (report.segments, report.open) == (2, 1)
    assert len(segments(tmp_path)) == 3
    assert drained(tmp_path, 1) == 2


def test_a_clean_end_counts_when_the_process_is_gone(tmp_path: Path) -> None:
    """Threads of other interpreters may still be writing."""
    write(tmp_path, 1, 0, state=CLEAN, **alive())
    assert (move(tmp_path).segments, len(segments(tmp_path))) == (0, 1)


def test_segments_that_were_evicted_do_not_hold_up_the_others(tmp_path: Path) -> None:
    for sequence, state in ((5, ROTATED), (6, ROTATED), (7, OPEN)):
        write(tmp_path, 1, sequence, state=state, **alive())
    move(tmp_path)
    assert drained(tmp_path, 1) == 7


def test_what_cannot_be_read_is_not_given_away(tmp_path: Path) -> None:
    paths = [write(tmp_path, 1, sequence, state=ROTATED, **alive()) for sequence in range(3)]
    os.link(paths[1], tmp_path / "second name")  # refused, for the time being
    move(tmp_path)
    assert drained(tmp_path, 1) == 1
    (tmp_path / "second name").unlink()
    move(tmp_path)
    assert drained(tmp_path, 1) == 3


@pytest.mark.parametrize("state", [OPEN, CLEAN])
def test_of_another_container(tmp_path: Path, state: int) -> None:
    """Nobody can tell whether the process lives; a sign of life, or its end, is all there is."""
    other = alive() | {"pid_namespace": 1}
    now = {"beat_realtime": time.time_ns(), "beat_monotonic": time.monotonic_ns() + 2 * DAY}
    write(tmp_path, 1, 0, state=ROTATED, **other, **now)
    write(tmp_path, 1, 1, state=state, **other, **now)
    report = move(tmp_path)
    if state == OPEN:
        assert (report.segments, report.open, len(segments(tmp_path)), drained(tmp_path, 1)) == (1, 1, 2, 1)
        write(tmp_path, 1, 1, state=state, **other)  # its last beat was in 1970
        report = move(tmp_path)
        assert (report.segments, report.open) == (
            0 if time.monotonic_ns() < DAY else 1,
            1 if time.monotonic_ns() < DAY else 0,
        )
    else:
        assert (report.segments, segments(tmp_path)) == (2, [])


def damage(path: Path) -> bytes:
    data = bytearray(path.read_bytes())
    data[-4096:] = b"\xff" * 4096
    path.write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize("running", [False, True])
def test_a_damaged_segment_is_kept_aside(tmp_path: Path, running: bool) -> None:
    path = write(tmp_path, 1, 0, 100, state=ROTATED, **alive() if running else {})
    data = damage(path)
    before = lines(Journal(tmp_path))
    report = move(tmp_path)
    kept = tmp_path / "damaged" / path.name
    assert report.released.damaged == {path: kept}
    assert kept.read_bytes() == data
    assert path.exists() == running
    assert drained(tmp_path, 1) == int(running)
    assert lines(archived_journal(tmp_path)) == before
    assert 0 < len(before) < 100


def test_a_damaged_segment_is_kept_aside_by_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever read the damage was killed before the file was put aside."""
    path = write(tmp_path, 1, 0, 100)
    damage(path)
    with monkeypatch.context() as killed:
        killed.setattr("pythonaudit.archive.ingest.release", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            move(tmp_path)
    move(tmp_path)
    assert [kept.name for kept in (tmp_path / "damaged").iterdir()] == [path.name]


def test_no_segment_is_no_reason_to_stop(tmp_path: Path) -> None:
    path = write(tmp_path, 1)
    path.with_name(path.name.replace("-000000", "-000001")).write_bytes(b"no segment" * 1000)
    write(tmp_path, 2)
    report = move(tmp_path)
    assert report.segments == 2
    assert len(segments(tmp_path)) == 1


def test_nothing_is_made_where_nothing_is_recorded(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nothing is recorded"):
        move(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_progress_comes_to_its_end(tmp_path: Path) -> None:
    for process in range(1, 4):
        write(tmp_path, process)
    told: list[tuple[int, int]] = []
    ingest(Journal(tmp_path), Archive(tmp_path), lambda done, total: told.append((done, total)), batch_bytes=1)
    assert len(told) == 3
    assert told[-1][0] == told[-1][1] > 0


def test_stacks_stand_once_in_a_batch(tmp_path: Path) -> None:
    for process in range(1, 4):
        write(tmp_path, process)
    move(tmp_path)
    stacks, events = table(tmp_path, "stacks"), table(tmp_path)
    assert stacks["line"].to_pylist() == [1, 2, 3]
    assert events["stack"].to_pylist() == [1, 2, 3] * 3
    assert set(events["batch"].to_pylist()) == set(stacks["batch"].to_pylist())
