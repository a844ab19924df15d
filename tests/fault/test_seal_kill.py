"""Sealing, killed at each step of ingest, compaction and a change of keys: `verify` never finds anything; and it runs
while all of them are at work.
"""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from pythonaudit.archive.manifest import Archive
from tests import tampered
from tests.archives import write
from tests.fault.test_archive_kill import STRIDE, Child, child, children, fill, memory
from tests.recorded import SOAK

__all__ = ["child", "children", "memory"]


def check(directory: Path, events: int) -> None:
    """Nothing is found, whatever it is held against; and all events are sealed."""
    for anchors in (tampered.first_keys(directory), tampered.newest_checkpoint(directory)):
        report = tampered.check(directory, anchors)
        assert [one for one in report.verdicts if not one.is_fine] == []
        assert report.verdicts[0].verdict == "intact"
        assert report.verdicts[0].events + report.unsealed >= events


@pytest.mark.parametrize("verb", ["ingest", "compact", "rotate", "seal"])
def test_killed_at_each_step(memory: Path, child: Child, verb: str) -> None:
    whole = memory / "whole"
    if verb == "compact":
        write(whole, 6)
        tampered.ingest(tampered.Journal(whole), Archive(whole))
    (whole / "journal").mkdir(parents=True, exist_ok=True)
    tampered.start(whole)
    fill(whole)
    events = 3 * 7
    if verb == "compact":
        tampered.move(whole, batch_bytes=40_000)
        assert len(Archive(whole).entries()) > 2
    step, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        step += STRIDE
        directory = memory / f"{step}"
        shutil.copytree(whole, directory)
        status = child.change(verb, directory, step)
        check(directory, events)
        assert child.change(verb, directory) == 0
        check(directory, events)
        shutil.rmtree(directory)
    assert status == 0
    assert step > 5


def test_killed_again_and_again(memory: Path, child: Child) -> None:
    """One store, and each step of everything in turn."""
    (memory / "journal").mkdir()
    tampered.start(memory)
    fill(memory)
    events = 3 * 7
    for step in range(1, 40 * SOAK, 3):
        write(memory, 100 + step)
        events += 3
        for verb in ("seal", "ingest", "rotate", "compact"):
            child.change(verb, memory, step)
        check(memory, events)
    assert child.change("ingest", memory) == 0
    report = tampered.check(memory)
    assert (report.unsealed, report.uncovered) == (0, 0)
    assert all(one.is_fine for one in report.verdicts)


def test_verified_while_others_work(memory: Path, children: list[Child]) -> None:
    (memory / "journal").mkdir()
    tampered.start(memory)
    fill(memory)
    keys = tampered.first_keys(memory)
    process, readings = 10, 0
    for _ in range(12 * SOAK):
        for _ in range(5):
            write(memory, process)
            process += 1
        before = tampered.newest_checkpoint(memory)
        for one, verb in zip(children, ("seal", "ingest", "rotate", "compact"), strict=True):
            one.begin(verb, memory)
        for anchors in (keys, before):
            report = tampered.check(memory, anchors)
            assert [one for one in report.verdicts if not one.is_fine] == []
            readings += 1
        for one in children:
            assert one.end() == 0
    assert readings == 24 * SOAK
    check(memory, 3 * (process - 10))
