"""A directory of segments: order, last events, filters, what there is and what is missing."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from pythonaudit.journal import files, layout
from pythonaudit.journal.decode import Event, SegmentDecoder
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal, SegmentHead
from tests.journal_writer import BEGIN_NS, SegmentWriter, ThreadWriter

SECOND = 1_000_000_000


def ids(events: Any) -> list[str]:
    return [f"{event.process.id[:2]}/{event.thread.slot}/{event.number}" for event in events]


def make_processes(directory: Path, seed: int = 1) -> None:
    """Four processes of three segments and two threads each, whose events lie between each other."""
    chance = random.Random(seed)
    for process in range(4):
        begin_ns = BEGIN_NS + chance.randrange(SECOND)
        numbers = [0, 0]
        for sequence in range(3):
            writer = SegmentWriter(process=bytes([process]) * 16, sequence=sequence, begin_ns=begin_ns)
            threads = [writer.thread(slot, number=number) for slot, number in enumerate(numbers)]
            for _ in range(chance.randrange(1, 60)):
                writer.ticks += chance.randrange(30_000_000)
                chance.choice(threads).event("open", [chance.randrange(1000)])
            numbers = [thread.number for thread in threads]
            writer.save(directory)
            begin_ns = writer.now()[2] + chance.randrange(50_000_000)


def by_the_book(events: list[Event]) -> list[str]:
    return ids(sorted(events, key=lambda e: (e.time_ns, e.process.id, e.thread.slot, e.number)))


@pytest.mark.parametrize("seed", range(5))
def test_order_is_that_of_time_across_processes(tmp_path: Path, seed: int) -> None:
    make_processes(tmp_path, seed)
    events = list(Journal(tmp_path).events())
    assert len(events) > 100
    assert ids(events) == by_the_book(events)
    assert len(set(ids(events))) == len(events)


def test_equal_times_are_ordered_by_process_slot_and_number(tmp_path: Path) -> None:
    for process in (2, 1):
        writer = SegmentWriter(process=bytes([process]) * 16)
        threads = [writer.thread(slot) for slot in (2, 1)]
        for _ in range(2):
            for thread in threads:
                thread.event("open")
        writer.save(tmp_path)
    expected = [f"0{p}/{s}/{n}" for p in (1, 2) for s in (1, 2) for n in (0, 1)]
    assert ids(Journal(tmp_path).events()) == expected


def test_order_within_a_thread_is_exact_whatever_its_clock_does(tmp_path: Path) -> None:
    """The clock is set back by an hour in the middle, and before the second segment."""
    numbers = 0
    for sequence in range(2):
        writer = SegmentWriter(sequence=sequence, begin_ns=BEGIN_NS - sequence * 7200 * SECOND)
        thread = writer.thread(1, number=numbers)
        for step in range(50):
            writer.ticks += 1_000_000
            if step == 25:
                writer.begin_ns -= 3600 * SECOND
                thread.chunk = None  # a new chunk has a new anchor
            thread.event("open")
        numbers = thread.number
        writer.begin_ns += 3600 * SECOND
        writer.save(tmp_path)
    expected = [f"10/1/{n}" for n in range(100)]
    journal = Journal(tmp_path)
    assert ids(journal.events()) == expected
    assert ids(journal.tail(100)) == expected


def test_thread_that_stays_behind_in_an_old_segment(tmp_path: Path) -> None:
    old = SegmentWriter(sequence=0)
    idle, busy = old.thread(1), old.thread(2)
    busy.event("open")
    new = SegmentWriter(sequence=1, begin_ns=BEGIN_NS + SECOND)
    later = new.thread(2, number=1)
    for _ in range(3):
        new.ticks += 2 * SECOND
        later.event("open")
    old.ticks += 4 * SECOND
    idle.event("exec")
    old.save(tmp_path, state=layout.STATE_OPEN)
    new.save(tmp_path)
    expected = ["10/2/0", "10/2/1", "10/1/0", "10/2/2", "10/2/3"]
    journal = Journal(tmp_path)
    assert ids(journal.events()) == expected
    for count in range(7):
        assert ids(journal.tail(count)) == (expected[-count:] if count else [])


@pytest.mark.parametrize("seed", range(3))
def test_tail_is_the_end_of_all(tmp_path: Path, seed: int) -> None:
    make_processes(tmp_path, seed)
    journal = Journal(tmp_path)
    everything = ids(journal.events())
    for count in (1, 2, 17, len(everything), len(everything) + 5):
        assert ids(journal.tail(count)) == everything[-count:]
    wanted = EventFilter(processes=("02", "03"), text="7")
    some = ids(journal.events(wanted))
    assert 0 < len(some) < len(everything)
    assert ids(journal.tail(5, wanted)) == some[-5:]


class Counting(Journal):
    """Notes which segments it loads."""

    loaded: list[int]

    def load(self, head: SegmentHead) -> SegmentDecoder | None:
        self.loaded.append(head.header.process[0])
        return super().load(head)


def test_tail_does_not_open_what_ended_too_early(tmp_path: Path) -> None:
    for process in range(5):
        writer = SegmentWriter(process=bytes([process]) * 16, begin_ns=BEGIN_NS + process * SECOND)
        thread = writer.thread()
        for _ in range(10):
            thread.event("open")
        writer.save(tmp_path)
    journal = Counting(tmp_path)
    for count, opened in ((1, [4]), (10, [4]), (11, [4, 3]), (25, [4, 3, 2]), (99, [4, 3, 2, 1, 0])):
        journal.loaded = []
        assert len(journal.tail(count)) == min(count, 50)
        assert journal.loaded[: len(opened)] == opened
        assert len(journal.loaded) <= len(opened) + 1, "one more, to see that it ends too early"


# -- filters


@pytest.fixture
def mixed(tmp_path: Path) -> Journal:
    for process, run in ((1, "first"), (2, "second")):
        attributes = {"run": run, "cwd": "/srv/app", "python": "3.12.1"}
        writer = SegmentWriter(process=bytes([process]) * 16, pid=100 + process, attributes=attributes)
        thread = writer.thread()

        def step(
            name: str, args: Any = (), thread: ThreadWriter = thread, writer: Any = writer, **options: Any
        ) -> None:
            writer.ticks += SECOND
            thread.event(name, args, **options)

        step("open", ["/etc/passwd", "r", 0])
        step("open", ["data/orders.db", "r", 0], source=layout.SOURCE_STDLIB)
        step("import", ["json", None])
        step("User in: name=Anna", inline=True, source=layout.SOURCE_APPLICATION)
        step("os.rename", ["/tmp/a", "/tmp/b"])
        step("shop", [{"path": "/etc/shop.conf", "who": "ANNA"}], source=layout.SOURCE_APPLICATION)
        writer.save(tmp_path)
    return Journal(tmp_path)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (EventFilter(), [0, 1, 2, 3, 4, 5]),
        (EventFilter(names=("open",)), [0, 1]),
        (EventFilter(names=("o*",)), [0, 1, 4]),
        (EventFilter(names=("os.*", "User*")), [3, 4]),
        (EventFilter(names=("User in: name=Anna",)), [3]),
        (EventFilter(categories=("file",)), [0, 1, 4]),
        (EventFilter(categories=("application",)), [3, 5]),
        (EventFilter(sources=("stdlib", "application")), [1, 3, 5]),
        (EventFilter(since_ns=BEGIN_NS + 5 * SECOND), [4, 5]),
        (EventFilter(until_ns=BEGIN_NS + 3 * SECOND), [0, 1]),
        (EventFilter(since_ns=BEGIN_NS + 2 * SECOND, until_ns=BEGIN_NS + 2 * SECOND + 1), [1]),
        (EventFilter(paths=("/etc/*",)), [0, 5]),
        (EventFilter(paths=("/srv/app/data/*",)), [1]),
        (EventFilter(paths=("data/*",)), [1]),
        (EventFilter(paths=("/tmp/b",)), [4]),
        (EventFilter(text="anna"), [3, 5]),
        (EventFilter(text="PASSWD"), [0]),
        (EventFilter(text="who"), [5]),
        (EventFilter(names=("open",), paths=("/etc/*",)), [0]),
        (EventFilter(names=("nothing",)), []),
    ],
)
def test_filter(mixed: Journal, wanted: EventFilter, numbers: list[int]) -> None:
    expected = sorted(f"0{process}/1/{number}" for process in (1, 2) for number in numbers)
    assert sorted(ids(mixed.events(wanted))) == expected
    assert sorted(ids(mixed.tail(100, wanted))) == expected


def test_filter_of_paths_looks_into_lists(tmp_path: Path) -> None:
    writer = SegmentWriter()
    programs = [{"$bytes": "/usr/local/bin/git"}, {"$bytes": "bin/git"}]
    writer.thread().event("_posixsubprocess.fork_exec", [programs, [{"$bytes": "/etc/passwd"}], None])
    writer.save(tmp_path)
    for glob, count in (("/usr/local/*", 1), ("/srv/bin/git", 1), ("bin/*", 1), ("/etc/*", 0)):
        assert len(list(Journal(tmp_path).events(EventFilter(paths=(glob,))))) == count, glob


@pytest.mark.parametrize(
    "wanted",
    [EventFilter(runs=("second",)), EventFilter(processes=("0202",)), EventFilter(pids=(102,))],
)
def test_filter_of_processes(mixed: Journal, wanted: EventFilter) -> None:
    assert ids(mixed.events(wanted)) == [f"02/1/{number}" for number in range(6)]
    assert ids(mixed.tail(2, wanted)) == ["02/1/4", "02/1/5"]


def test_filter_finds_nothing_in_other_processes(mixed: Journal) -> None:
    for wanted in (EventFilter(runs=("third",)), EventFilter(processes=("03",)), EventFilter(pids=(7,))):
        assert list(mixed.events(wanted)) == []


# -- what there is, and what is missing


def test_survey(tmp_path: Path) -> None:
    for sequence in range(2):
        state = layout.STATE_CLEAN_END if sequence else layout.STATE_ROTATED
        begin_ns = BEGIN_NS + sequence * SECOND
        writer = SegmentWriter(sequence=sequence, begin_ns=begin_ns, attributes={"cwd": f"/{sequence}"})
        thread, other = writer.thread(1), writer.thread(2)
        thread.event("open")
        thread.count("builtins.id", 10)
        other.count("builtins.id", 5)
        other.count("builtins.id", 1, layout.SOURCE_STDLIB)
        writer.losses[:3] = [3, 0, sequence]
        writer.losses[9] = 1
        writer.ticks += 1000
        writer.save(tmp_path, state=state)
    killed = SegmentWriter(process=b"\1" * 16, begin_ns=BEGIN_NS - SECOND)
    killed.ticks += 500
    killed.thread().event("open")
    killed.save(tmp_path, state=layout.STATE_OPEN)

    survey = Journal(tmp_path).survey()
    first, second = survey.trails
    assert (first.process.id, first.ended, first.segments, first.events) == ("01" * 16, False, 1, 1)
    assert (first.begin_ns, first.end_ns) == (BEGIN_NS - SECOND, BEGIN_NS - SECOND + 500)
    assert (second.ended, second.segments, second.events, second.counted) == (True, 2, 2, 32)
    assert (second.begin_ns, second.end_ns) == (BEGIN_NS, BEGIN_NS + SECOND + 1000)
    assert second.process.cwd == "/1"
    assert [(c.process.id, c.event, c.source, c.count) for c in survey.counts] == [
        (second.process.id, "builtins.id", "interpreter", 30),
        (second.process.id, "builtins.id", "stdlib", 2),
    ]
    assert [(loss.process, loss.reason, loss.count) for loss in survey.losses] == [
        (second.process.id, "no-space", 6),
        (second.process.id, "reason-9", 2),
        (second.process.id, "no-memory", 1),
    ]
    assert orjson.loads(survey.losses[0].to_json()) == {
        "time": "2026-11-22T14:30:34.123457789Z",
        "process": second.process.id,
        "reason": "no-space",
        "count": 6,
    }


def test_damage_is_a_loss(tmp_path: Path) -> None:
    writer = SegmentWriter()
    thread = writer.thread()
    for number in range(60):
        thread.event("open", [f"/tmp/{number:0100}"])
    path = writer.save(tmp_path)
    data = bytearray(path.read_bytes())
    data[12288:12292] = b"LOST"
    path.write_bytes(data)
    journal = Journal(tmp_path)
    assert 0 < len(list(journal.events())) < 60
    (damage,) = journal.damage()
    assert (damage.path, damage.offset, damage.length) == (path, 12288, 4096)
    (loss,) = journal.losses()
    assert (loss.process, loss.reason, loss.count) == (writer.header["process"].hex(), "damaged", 4096)


def test_damage_is_that_of_what_has_been_read(tmp_path: Path) -> None:
    paths = []
    for process in (1, 2):
        writer = SegmentWriter(process=bytes([process]) * 16, begin_ns=BEGIN_NS + process * SECOND)
        writer.thread().event("open", ["/tmp/x"])
        paths.append(writer.save(tmp_path))
        os.truncate(paths[-1], layout.SEGMENT_MAX + 1)
    journal = Journal(tmp_path)
    assert journal.damage() == []
    assert ids(journal.tail(1)) == ["02/1/0"]
    assert [one.path for one in journal.damage()] == paths[1:]
    journal.survey()
    assert {one.path for one in journal.damage()} == set(paths)


def test_damaged_arguments_are_known_once_they_were_looked_at(tmp_path: Path) -> None:
    writer = SegmentWriter()
    writer.thread().event("open", b"[1,")
    path = writer.save(tmp_path)
    journal = Journal(tmp_path)
    journal.survey()
    assert journal.damage() == []
    assert [event.values for event in journal.events()] == [[]]
    assert [(one.path, one.reason) for one in journal.damage()] == [(path, "arguments that are not a JSON array")]


def test_process(tmp_path: Path) -> None:
    boot = bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
    start = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    namespace = os.stat("/proc/self/ns/pid").st_ino
    ours = {"boot": boot, "pid": os.getpid(), "pid_start": start, "pid_namespace": namespace}
    cases: list[tuple[dict[str, Any], bool | None]] = [
        ({}, True),
        ({"pid_start": start + 1}, False),
        ({"pid": (1 << 31) - 1}, False),
        ({"boot": bytes(16)}, False),
        ({"pid_namespace": 1}, None),
    ]
    for number, (changed, _) in enumerate(cases):
        SegmentWriter(process=bytes([number]) * 16, parent=b"\1" * 16, **(ours | changed)).save(tmp_path)
    trails = {trail.process.id: trail.process for trail in Journal(tmp_path).processes()}
    for number, (_, running) in enumerate(cases):
        process = trails[f"{number:02x}" * 16]
        assert process.is_running is running
        assert (process.parent, process.way, process.canary) == ("01" * 16, "preload", True)


def test_segments_that_have_gone(tmp_path: Path) -> None:
    paths = {}
    for process, sequences in ((b"\1", (1, 3, 4)), (b"\2", (0, 1)), (b"\3", (5,))):
        for sequence in sequences:
            writer = SegmentWriter(process=process * 16, sequence=sequence)
            writer.thread().event("open")
            paths[process, sequence] = writer.save(tmp_path, state=layout.STATE_ROTATED)
    paths[b"\1", 3].write_bytes(b"garbage" * 1000)  # that is damage: it has not gone
    losses = [(loss.process, loss.reason, loss.count) for loss in Journal(tmp_path).losses()]
    assert [loss for loss in losses if loss[1] == layout.LOSS_MISSING] == [
        ("01" * 16, "missing-segments", 2),
        ("03" * 16, "missing-segments", 5),
    ]
    assert [(loss[0], loss[1]) for loss in losses if loss[1] == "damaged"] == [("01" * 16, "damaged")]


def used_again(path: Path, later: SegmentWriter) -> None:
    """A process makes the file into a later segment of its own: in place."""
    with path.open("r+b") as file:
        file.write(later.build())
        file.truncate()
    path.rename(path.with_name(path.name.replace("-000000.", "-000001.")))


@pytest.mark.parametrize("moment", range(4))
def test_a_segment_that_is_used_again_while_it_is_read_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """At whatever moment: what comes is all of one segment, once."""
    process = b"\1" * 16
    first, later = SegmentWriter(process=process), SegmentWriter(process=process, sequence=1)
    first.thread(1).event("old", [1])
    later.begin_ns += SECOND
    later.thread(1, number=1).event("new", [2])
    path = first.save(tmp_path)
    journal = Journal(tmp_path)
    heads = journal.heads()
    reads = 0

    def before(real: Callable[..., Any]) -> Callable[..., Any]:
        def read(*arguments: Any) -> Any:
            nonlocal reads
            reads += 1
            if reads == moment:
                used_again(path, later)
            return real(*arguments)

        return read

    monkeypatch.setattr(files, "read_segment", before(files.read_segment))
    monkeypatch.setattr(files, "read_segment_into", before(files.read_segment_into))
    decoders = [journal.load(head) for head in heads]
    monkeypatch.undo()
    names = [e.event for d in decoders if d for e in d.events(np.arange(len(d.segment.events)))]
    assert names == (["old"] if moment == 0 else [])
    assert reads == 3
    assert not journal.damage()
    if moment:
        assert [event.event for event in Journal(tmp_path).events()] == ["new"]


def test_a_void_segment_holds_nothing_and_is_no_damage(tmp_path: Path) -> None:
    writer = SegmentWriter()
    writer.thread(1).event("old", [1])
    writer.save(tmp_path, state=layout.STATE_VOID)
    journal = Journal(tmp_path)
    assert not list(journal.events())
    assert journal.survey().trails == journal.survey().losses == []


def test_what_had_been_read_out_is_not_missing(tmp_path: Path) -> None:
    for sequence in (3, 6, 7):
        writer = SegmentWriter(process=b"\1" * 16, sequence=sequence)
        writer.thread(1).event("open", [sequence])
        data = bytearray(writer.build())
        data[184:188] = (0, 4, 5)[(3, 6, 7).index(sequence)].to_bytes(4, "little")
        writer.save(tmp_path).write_bytes(data)
    journal = Journal(tmp_path)
    assert journal.missing(journal.heads()) == {"01" * 16: 1}, "5 has gone; 0 to 4 were read out"
