"""Looking at segments cheaply: what is kept of them is bounded, and nothing is missed or given twice for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pythonaudit.journal import files, follow, layout
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.follow import Follower
from pythonaudit.journal.reader import Journal
from pythonaudit.journal.watched import Watched
from tests.journal_writer import SegmentWriter
from tests.unit.journal.test_follow import Recorder


def names(decoders: list[SegmentDecoder]) -> list[str]:
    return [e.event for one in decoders for e in one.events(np.arange(len(one.segment.events)))]


def processes(count: int) -> list[bytes]:
    return [bytes([number]) * 16 for number in range(1, count + 1)]


def test_what_an_event_needs_is_read_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Definitions that come while the segment is looked at, with events that refer to them."""
    recorder = Recorder(tmp_path)
    recorder.write("a")
    follower = Follower(Journal(tmp_path), in_order=False)
    assert names(follower.poll()) == ["a"]
    grown = Watched._grown
    late = iter(["defined late", "defined later"])

    def grow(watched: Watched, *more: Any) -> Any:
        found = grown(watched, *more)
        recorder.write(next(late))
        return found

    monkeypatch.setattr(Watched, "_grown", grow)
    recorder.write("b")
    assert names(follower.poll()) == ["b", "defined late"]
    recorder.write("c")
    assert names(follower.poll()) == ["c", "defined later"]


def test_an_event_says_whose_it_is_when_the_copy_was_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "IMAGES_BYTES", 1)
    recorders = [Recorder(tmp_path, process=process) for process in processes(3)]
    follower = Follower(Journal(tmp_path), in_order=False)
    for turn in range(3):
        for recorder in recorders:
            recorder.write(f"turn {turn}")
        decoders = follower.poll()
        assert names(decoders) == [f"turn {turn}"] * 3
        assert {decoder.process.host for decoder in decoders} == {"web-1"}
        assert sum(watched.image_bytes > 0 for watched in follower.watched.values()) == 1


@pytest.mark.parametrize("descriptors", [0, 2, 100])
def test_descriptors_are_bounded_and_given_back(tmp_path: Path, descriptors: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    recorders = [Recorder(tmp_path, process=process) for process in processes(5)]
    follower = Follower(Journal(tmp_path), in_order=False, descriptors=descriptors)
    for turn in range(3):
        for recorder in recorders:
            recorder.write(f"turn {turn}", state=layout.STATE_CLEAN_END if turn == 2 else layout.STATE_OPEN)
        assert names(follower.poll()) == [f"turn {turn}"] * 5
        assert len(os.listdir("/proc/self/fd")) - before == min(descriptors, 5)
    while follower.watched:
        assert follower.poll() == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_look_reads_so_much_and_the_next_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorders = [Recorder(tmp_path, process=process) for process in processes(4)]
    for recorder in recorders:
        recorder.write("first")
    monkeypatch.setattr(follow, "LOOK_BYTES", recorders[0].path.stat().st_size // 2)
    follower = Follower(Journal(tmp_path), in_order=False)
    seen: list[bytes] = []
    for _ in range(4):
        (decoder,) = follower.poll()
        seen.append(decoder.segment.header.process)
        recorders[0].write("and more")  # which does not keep the others waiting
    assert sorted(seen) == processes(4)
    assert follower.is_behind
    monkeypatch.undo()
    assert names(follower.poll()) == ["and more"] * 4
    assert not follower.is_behind


def test_a_box_with_more_than_a_look_can_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are no segments, and segments, more than are taken up at once."""
    monkeypatch.setattr(follow, "_NEW_AT_ONCE", 4)
    monkeypatch.setattr(follow, "_UNBEGUN_AT_ONCE", 2)
    for process in processes(10):
        Recorder(tmp_path, process=process).write("a")
    box = tmp_path / "journal" / f"u{os.geteuid()}"
    for number in range(30):
        (box / f"{number:016x}-{number:032x}-000000.pyaudit").touch()
    follower = Follower(Journal(tmp_path), in_order=False)
    found: list[str] = []
    for _ in range(12):
        found += names(follower.poll())
    assert found == ["a"] * 10


def test_a_box_is_read_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for process in processes(5):
        Recorder(tmp_path, process=process)
    monkeypatch.setattr(files, "BOX_FILES", 3)
    assert len(Journal(tmp_path).heads()) == 3
    monkeypatch.setattr(files, "BOXES", 2)
    for name in ("uaaa", "ubbb"):
        (tmp_path / "journal" / name).mkdir()
    journal = Journal(tmp_path)
    assert [box.path.name for box in journal.boxes()] == [f"u{os.geteuid()}", "uaaa"]
    assert [one.reason for one in journal.damage()] == ["3 boxes: no more than 2 are read"]


def test_what_is_watched_in_a_box_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_BOX_SEGMENTS", 2)
    monkeypatch.setattr(follow, "_NEW_AT_ONCE", 1)
    recorders = [Recorder(tmp_path, process=process) for process in processes(4)]
    follower = Follower(Journal(tmp_path), in_order=False)
    for _ in range(5):
        follower.poll()
    assert len(follower.watched) == 2
    for recorder in recorders[:2]:
        recorder.write("end", state=layout.STATE_CLEAN_END)
    for _ in range(10):
        follower.poll()
    assert list(follower.watched) == [recorder.path for recorder in recorders[2:]]


def test_one_that_cannot_be_read_hinders_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = (Recorder(tmp_path, process=process) for process in processes(2))
    read = Watched._read

    def fail(watched: Watched, descriptor: int) -> Any:
        if watched.head.file.path == bad.path:
            raise MemoryError("of a kind that nobody expects")
        return read(watched, descriptor)

    monkeypatch.setattr(Watched, "_read", fail)
    journal = Journal(tmp_path)
    follower = Follower(journal, in_order=False)
    good.write("a")
    assert names(follower.poll()) == ["a"]
    assert list(follower.watched) == [good.path]
    assert ["cannot be read" in one.reason for one in journal.damage()] == [True]


def test_all_of_a_segment_once_more(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.write("a", "b")
    follower = Follower(Journal(tmp_path), in_order=False)
    assert names(follower.poll()) == ["a", "b"]
    follower.begin_again({(recorder.writer.header["process"].hex(), 0, os.geteuid())})
    recorder.write("c")
    assert names(follower.poll()) == ["a", "b", "c"]
    assert names(follower.poll()) == []


def test_quiet_segments_are_looked_at_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("pythonaudit.journal.follow.time.monotonic", lambda: now)
    recorder = Recorder(tmp_path)
    recorder.write("a")
    follower = Follower(Journal(tmp_path), in_order=False)
    assert names(follower.poll()) == ["a"]
    now += 10
    recorder.write("b")
    assert names(follower.poll()) == ["b"]
    now += 10
    assert names(follower.poll()) == []
    recorder.write("c")
    now += 0.3
    assert names(follower.poll()) == []
    now += 0.45
    assert names(follower.poll()) == ["c"], "within 0.75 seconds"


def test_a_file_that_takes_the_name_of_one_that_was_removed(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.write("old")
    follower = Follower(Journal(tmp_path), in_order=False)
    assert names(follower.poll()) == ["old"]
    recorder.path.unlink()
    other = SegmentWriter(process=b"\x09" * 16)
    other.thread().event("new", [])
    recorder.path.write_bytes(other.build(layout.STATE_OPEN))
    found: list[str] = []
    for _ in range(4):
        found += names(follower.poll())
    assert found == ["new"]
