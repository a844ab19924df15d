"""Following journals that grow. The recorder's part is played by rewriting a segment in place."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pythonaudit.errors import StoreError
from pythonaudit.journal import layout
from pythonaudit.journal.decode import Event, SegmentDecoder
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.follow import Follower
from pythonaudit.journal.reader import Journal
from tests.journal_writer import BEGIN_NS, SegmentWriter


def own_process() -> dict[str, Any]:
    """The header of a process that lives: ours."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    return {
        "boot": bytes.fromhex(boot),
        "pid": os.getpid(),
        "pid_start": int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]),
        "pid_namespace": os.stat("/proc/self/ns/pid").st_ino,
    }


class Recorder:
    """A live segment."""

    def __init__(self, directory: Path, *, sequence: int = 0, process: bytes = b"\1" * 16) -> None:
        self.directory = directory
        self.writer = SegmentWriter(
            process=process, sequence=sequence, begin_ns=BEGIN_NS + sequence, **own_process()
        )
        self.thread = self.writer.thread(1)
        self.path = self.writer.save(directory, state=layout.STATE_OPEN)

    def write(self, *names: str, state: int = layout.STATE_OPEN) -> None:
        for name in names:
            self.writer.ticks += 1000
            self.thread.event(name, [name], stack=[("app.py", 1, name)])
        self.update(self.writer.build(state))

    def update(self, data: bytes) -> None:
        with self.path.open("r+b") as file:
            file.write(data)


class Followed:
    """An iteration that is stopped at the end of the test."""

    def __init__(self, journal: Journal, **options: Any) -> None:
        self.stop = threading.Event()
        self.events: Iterator[Event] = journal.follow(stop=self.stop, **options)

    def next(self, count: int) -> list[str]:
        return [next(self.events).event for _ in range(count)]

    def rest(self) -> list[str]:
        """What comes after `stop`: of the poll that is under way, nothing more."""
        self.stop.set()
        return [event.event for event in self.events]


def test_new_events_of_known_and_new_segments(tmp_path: Path) -> None:
    first = Recorder(tmp_path)
    first.write("old")
    followed = Followed(Journal(tmp_path), last=None)
    assert followed.next(1) == ["old"]
    first.write("a", "b")
    assert followed.next(2) == ["a", "b"]
    second = Recorder(tmp_path, process=b"\2" * 16)
    second.write("c")
    assert followed.next(1) == ["c"]
    second.write("d")
    first.write("e")
    assert sorted(followed.next(2)) == ["d", "e"]
    assert followed.rest() == []


def test_events_are_whole(tmp_path: Path) -> None:
    """Strings, codes and attributes that an event needs were there long before it, or just before it."""
    recorder = Recorder(tmp_path)
    recorder.write("open")
    followed = Followed(Journal(tmp_path))
    recorder.write("open")
    event = next(followed.events)
    assert event.stack == [("app.py", 1, "open")]
    assert event.fields == {"path": "open"}
    assert (event.process.host, event.number) == ("web-1", 1)
    recorder.write("fresh")
    event = next(followed.events)
    assert (event.event, event.stack, event.process.host) == ("fresh", [("app.py", 1, "fresh")], "web-1")
    assert followed.rest() == []


@pytest.mark.parametrize(
    ("last", "expected"), [(0, []), (1, ["b"]), (5, ["dead", "a", "b"]), (None, ["dead", "a", "b"])]
)
def test_what_was_there_before(tmp_path: Path, last: int | None, expected: list[str]) -> None:
    dead = SegmentWriter(process=b"\7" * 16, begin_ns=BEGIN_NS - 10**9)
    dead.thread().event("dead")
    dead.save(tmp_path, state=layout.STATE_OPEN)
    recorder = Recorder(tmp_path)
    recorder.write("a", "b")
    followed = Followed(Journal(tmp_path), last=last)
    recorder.write("new")
    assert followed.next(len(expected) + 1) == [*expected, "new"]
    assert followed.rest() == []


def test_rotation(tmp_path: Path) -> None:
    first = Recorder(tmp_path)
    followed = Followed(Journal(tmp_path), last=None)
    first.write("a")
    assert followed.next(1) == ["a"]
    first.write("b", state=layout.STATE_ROTATED)
    second = Recorder(tmp_path, sequence=1)
    second.thread.number = first.thread.number
    second.write("c", state=layout.STATE_CLEAN_END)
    assert followed.next(2) == ["b", "c"]
    assert followed.rest() == []


def test_filter(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    followed = Followed(Journal(tmp_path), wanted=EventFilter(names=("wanted*",)), last=None)
    recorder.write("other", "wanted 1", "other", "wanted 2")
    assert followed.next(2) == ["wanted 1", "wanted 2"]
    assert followed.rest() == []


def test_many_events_over_many_chunks(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    followed = Followed(Journal(tmp_path), last=None)
    expected = []
    for batch in range(20):
        names = [f"event {batch}.{number}" for number in range(batch * 7)]
        recorder.write(*names)
        expected += names
        assert followed.next(len(names)) == names
    assert followed.rest() == []


def test_segment_that_is_cut_or_removed_or_replaced(tmp_path: Path) -> None:
    victim, healthy = Recorder(tmp_path), Recorder(tmp_path, process=b"\2" * 16)
    followed = Followed(Journal(tmp_path), last=None)
    victim.write("a")
    assert followed.next(1) == ["a"]
    for deed in (
        lambda: os.truncate(victim.path, 5000),
        lambda: os.truncate(victim.path, 0),
        lambda: victim.path.write_bytes(b"garbage" * 1000),
        victim.path.unlink,
        lambda: os.mkfifo(victim.path),
    ):
        deed()
        healthy.write("still here")
        assert followed.next(1) == ["still here"]
    assert followed.rest() == []


def test_a_segment_is_watched_until_nothing_can_come(tmp_path: Path) -> None:
    live, closed = Recorder(tmp_path), Recorder(tmp_path, process=b"\2" * 16)
    dead = SegmentWriter(process=b"\3" * 16)
    dead.save(tmp_path, state=layout.STATE_OPEN)
    live.write("a")
    follower = Follower(Journal(tmp_path))
    known, begun = follower.begin()
    assert [head.header.process[0] for head in known] == [3]
    assert [len(decoder.segment.events) for decoder in begun] == [1]
    assert set(follower.watched) == {live.path, closed.path}
    closed.write("last", state=layout.STATE_CLEAN_END)
    assert [len(decoder.segment.events) for decoder in follower.poll()] == [1]
    assert closed.path in follower.watched, "what was being written while it was closed is still to come"
    for _ in range(3):
        assert follower.poll() == []
    assert set(follower.watched) == {live.path}


def test_segment_whose_header_is_not_finished(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    data = recorder.path.read_bytes()
    recorder.path.write_bytes(bytes(8) + data[8:4096] + bytes(131072))
    journal = Journal(tmp_path)
    follower = Follower(journal)
    assert follower.begin() == ([], [])
    assert follower.poll() == []
    recorder.write("a")
    assert [len(decoder.segment.events) for decoder in follower.poll()] == [1]
    assert journal.damage() == []


def test_stop_ends_it_at_once(tmp_path: Path) -> None:
    Recorder(tmp_path)
    assert Followed(Journal(tmp_path)).rest() == []


def test_no_journal(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        Followed(Journal(tmp_path)).next(1)


def test_a_directory_that_is_removed_may_come_again(tmp_path: Path) -> None:
    Recorder(tmp_path)
    journal = Journal(tmp_path)
    follower = Follower(journal)
    follower.begin()
    shutil.rmtree(tmp_path / "journal")
    assert follower.poll() == follower.poll() == []
    assert not follower.watched
    Recorder(tmp_path, process=b"\2" * 16).write("again")
    assert [events_of(decoder) for decoder in follower.poll()] == [["again"]]
    assert journal.damage() == []


def test_a_segment_that_is_used_again_is_over(tmp_path: Path) -> None:
    """What it held is not shown again, and what it holds now comes under its own name."""
    recorder = Recorder(tmp_path)
    recorder.write("old")
    journal = Journal(tmp_path)
    follower = Follower(journal)
    follower.begin()
    later = Recorder(tmp_path, sequence=1)
    later.write("new")
    recorder.update(later.path.read_bytes())  # not yet renamed, as it seems
    os.replace(recorder.path, later.path)
    found = [name for _ in range(3) for decoder in follower.poll() for name in events_of(decoder)]
    assert found == ["new"]
    assert journal.damage() == []


def events_of(decoder: SegmentDecoder) -> list[str]:
    return [event.event for event in decoder.events(np.arange(len(decoder.segment.events)))]


def test_what_is_younger_than_the_look_comes_with_the_next(tmp_path: Path) -> None:
    """And with it what comes after it in its thread, whatever the clock says; even if the file is used again."""
    recorder = Recorder(tmp_path)
    other = recorder.writer.thread(2)
    journal = Journal(tmp_path)
    follower = Follower(journal)
    follower.begin()
    recorder.write("old")
    recorder.writer.ticks += (ahead := 2 * time.time_ns() - BEGIN_NS)
    recorder.write("young")
    recorder.writer.ticks -= ahead
    recorder.write("set back")
    other.event("elsewhere", [])
    recorder.update(recorder.writer.build(layout.STATE_OPEN))
    assert [events_of(decoder) for decoder in follower.poll()] == [["old", "elsewhere"]]
    recorder.update(bytes(len(recorder.path.read_bytes())))
    assert [events_of(decoder) for decoder in follower.poll()] == [["young", "set back"]]
    assert follower.poll() == []
