"""Ingest, compaction and retention, killed at each of their steps; many at once; and a reader all the while."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.journal import layout
from pythonaudit.journal.reader import Journal
from tests.archives import DAY_NS, alive, archived_journal, files, lines, move, process_of, segments, table, write
from tests.commands import environment
from tests.fault import archive_child
from tests.journal_writer import BEGIN_NS
from tests.recorded import SOAK
from tests.seals import begin_seal, check_sealed, records

#: Each step takes a second or two: all of them are tried with SOAK=2.
STRIDE = 1 if SOAK > 1 else 5


class Child:
    """Changes archives one after the other, in processes of its own."""

    def __init__(self) -> None:
        command = [sys.executable, archive_child.__file__]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, env=environment(), stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )

    def begin(self, verb: str, directory: Path, step: int = 0) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{step}\t{verb}\t{directory}\n")
        self.process.stdin.flush()

    def end(self) -> int:
        assert self.process.stdout
        return int(self.process.stdout.readline())

    def change(self, verb: str, directory: Path, step: int = 0) -> int:
        self.begin(verb, directory, step)
        return self.end()

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def children() -> Iterator[list[Child]]:
    made = [Child() for _ in range(4)]
    yield made
    for child in made:
        child.close()


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory where making things durable costs nothing."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        yield Path(place)


@pytest.fixture
def child(children: list[Child]) -> Child:
    return children[0]


def fill(directory: Path) -> None:
    """Ended processes, one of them damaged; and one that goes on, with two closed segments and an open one."""
    for process in (1, 2):
        for sequence in range(2):
            state = layout.STATE_CLEAN_END if sequence else layout.STATE_ROTATED
            write(directory, process, sequence, state=state)
    damaged = write(directory, 4, events=40)
    data = bytearray(damaged.read_bytes())
    data[-4096:] = b"\xff" * 4096
    damaged.write_bytes(data)
    for sequence in range(3):
        state = layout.STATE_OPEN if sequence == 2 else layout.STATE_ROTATED
        write(directory, 5, sequence, state=state, **alive())


def check_whole(directory: Path, expected: list[bytes]) -> None:
    assert lines(archived_journal(directory)) == expected


def check_tidy(directory: Path) -> None:
    """Nothing is left of those who were killed, and whoever reads all files sees each event once."""
    archive = Archive(directory)
    entries = archive.entries()
    named = {"lock", *(["dropped.json"] if (archive.root / "dropped.json").exists() else [])}
    named |= {*(f"manifest/{entry.batch}.json" for entry in entries)}
    assert set(files(directory)) == named | {part.path for entry in entries for part in entry.parts}
    events = table(directory)
    ids = list(zip(*(events[name].to_pylist() for name in ("process", "slot", "number")), strict=True))
    assert len(ids) == len(set(ids)) > 0
    assert archive.problems() == []


def test_ingest_killed_at_each_step(memory: Path, child: Child) -> None:
    whole = memory / "whole"
    fill(whole)
    expected = lines(Journal(whole))
    step, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        step += STRIDE
        directory = memory / f"{step}"
        shutil.copytree(whole, directory)
        status = child.change("ingest", directory, step)
        check_whole(directory, expected)
        assert child.change("ingest", directory) == 0
        check_whole(directory, expected)
        check_tidy(directory)
        left = [path.name.split("-", 1)[1] for path in segments(directory)]
        assert left == [f"{process_of(5).hex()}-{sequence:06}.pyaudit" for sequence in range(3)]
        assert len(list((directory / "damaged").iterdir())) == 1
        assert (directory / "drained" / process_of(5).hex()).read_bytes()[24:28] == b"\2\0\0\0"
        shutil.rmtree(directory)
    assert status == 0
    assert step > 20


def test_compaction_killed_at_each_step(memory: Path, child: Child) -> None:
    whole = memory / "whole"
    fill(whole)
    expected = lines(Journal(whole))
    move(whole, 40_000)
    assert len(Archive(whole).entries()) > 2
    step, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        step += STRIDE
        directory = memory / f"{step}"
        shutil.copytree(whole, directory)
        status = child.change("compact", directory, step)
        check_whole(directory, expected)
        assert child.change("compact", directory) == 0
        check_whole(directory, expected)
        check_tidy(directory)
        assert len(Archive(directory).entries()) == 1
        shutil.rmtree(directory)
    assert status == 0
    assert step > 10


@pytest.mark.parametrize("count", [2, 4])
def test_many_at_once_while_somebody_reads(memory: Path, children: list[Child], count: int) -> None:
    """Each reading finds all events, wherever they are at that time."""
    fill(memory)
    for process in range(10, 40):
        write(memory, process)
    expected = lines(Journal(memory))
    followed = archived_journal(memory)
    verbs = ["ingest", "compact"] * 4
    for verb in verbs:
        for one in children[:count]:
            one.begin(verb, memory)
    readings = 0
    answers = 0
    while answers < count * len(verbs):
        check_whole(memory, expected)  # looked at anew
        assert lines(followed) == expected  # and by one who looks again
        survey = followed.survey()
        assert sum(trail.events for trail in survey.trails) == len(expected)
        readings += 1
        if readings % 3 == 0:
            assert children[answers % count].end() == 0
            answers += 1
    check_whole(memory, expected)
    check_tidy(memory)
    assert len(segments(memory)) == 3
    assert os.listdir(memory / "damaged")


def fill_with_old(directory: Path, seal: bool) -> None:
    """An archive of three old batches, a new one, a file that is no segment, and a process that goes on."""
    (directory / "journal").mkdir(parents=True)
    sealer = begin_seal(directory) if seal else None
    for process, age in enumerate((40, 39, 38, 0), 1):
        write(directory, process, begin_ns=BEGIN_NS - age * DAY_NS)
        ingest(Journal(directory), Archive(directory), sealer=sealer)
    for sequence in range(2):
        state = layout.STATE_OPEN if sequence else layout.STATE_ROTATED
        write(directory, 5, sequence, begin_ns=BEGIN_NS - (40 - sequence) * DAY_NS, state=state, **alive())
    ingest(Journal(directory), Archive(directory), sealer=sealer)
    broken = write(directory, 6, begin_ns=BEGIN_NS - 40 * DAY_NS)
    broken.write_bytes(b"no segment")
    os.utime(broken, ns=(BEGIN_NS - 40 * DAY_NS,) * 2)


@pytest.mark.parametrize("seal", [False, True])
def test_retention_killed_at_each_step(memory: Path, child: Child, seal: bool) -> None:
    """What stays is there at any time; what goes is gone after the next one, and was told once."""
    whole = memory / "whole"
    fill_with_old(whole, seal)
    expected = lines(archived_journal(whole))
    seconds = (time.time_ns() - BEGIN_NS) / 1e9 + 30 * 86400
    verb = "retain:" + json.dumps({"age": seconds, "size": None, "journal_age": seconds})
    kept = [line for line in expected if b"/srv/4/" in line or b"/srv/5/1/" in line]
    assert (len(expected), len(kept)) == (18, 6)
    step, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        step += 1
        directory = memory / f"{step}"
        shutil.copytree(whole, directory)
        status = child.change(verb, directory, step)
        found = lines(archived_journal(directory))
        assert [line for line in expected if line in found] == found
        assert [line for line in kept if line in found] == kept
        # Whoever comes next, with whatever limits, finishes what was told.
        next_ = verb if step % 2 or not seal else "ingest"
        told = (
            {batch for record in records(directory, "dropped") for batch in record["batches"]} if seal else set()
        )
        assert child.change(next_, directory) == 0
        assert told.isdisjoint(entry.batch for entry in Archive(directory).entries())
        assert child.change(verb, directory) == 0
        check_whole(directory, kept)
        check_tidy(directory)
        assert [path.name[17:49] for path in segments(directory)] == [process_of(5).hex()] * 2
        assert archived_journal(directory).survey().losses == []
        if seal:
            assert check_sealed(directory) == 3
            batches = [batch for record in records(directory, "dropped") for batch in record["batches"]]
            assert (len(batches), len(set(batches))) == (4, 4)
        shutil.rmtree(directory)
    assert status == 0
    assert step > (20 if seal else 10)


def test_retention_while_somebody_reads(memory: Path, child: Child) -> None:
    """No reading fails, whatever goes meanwhile; and what stays is in each."""
    for process in range(1, 25):
        write(memory, process, begin_ns=BEGIN_NS - process * DAY_NS, events=50)
    ingest(Journal(memory), Archive(memory), batch_bytes=1)
    expected = lines(Journal(memory, archived=archived_journal(memory).archived))
    followed = archived_journal(memory)
    since = (time.time_ns() - BEGIN_NS) / 1e9
    for age in range(23, 1, -1):
        limits = {"age": since + age * 86400 - 3600, "size": None, "journal_age": None}
        child.begin("retain:" + json.dumps(limits), memory)
        for journal in (archived_journal(memory), followed):
            found = lines(journal)
            assert [line for line in expected if line in set(found)] == found
            assert len(found) >= 50 * (age - 1)
            assert journal.archived is not None
            assert journal.archived.problems() == []
        assert child.end() == 0
    assert len(lines(followed)) == 50
