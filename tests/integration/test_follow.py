"""Reading journals while they are written, by processes that write as fast as they can."""

from __future__ import annotations

import os
import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pythonaudit.journal.decode import Event
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.follow import Follower
from pythonaudit.journal.reader import Journal
from pythonaudit.journal.watched import Watched
from tests.conftest import Installed

WRITERS = 3
EVENTS = 20_000

#: Threads that write as fast as they can, in segments that are rotated; each line on stdin starts a round.
PROGRAM = f"""
import os, sys, threading
def work(thread):
    for i in range({EVENTS} // {WRITERS}):
        sys.audit("work", thread, i, "x" * (i % 300))
        if i % 50 == 0:
            sys.audit(f"message of {{thread}}: i={{i}}")
print("ready", flush=True)
for line in sys.stdin:
    threads = [threading.Thread(target=work, args=(n,)) for n in range({WRITERS})]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    sys.audit("round done")
"""

OURS = EventFilter(names=("work", "message of *", "round done"))


@contextmanager
def writing(installed: Installed, directory: Path) -> Iterator[subprocess.Popen[str]]:
    environment = installed.environment(PYTHONAUDIT="1", PYTHONAUDIT_DIR=directory)
    with subprocess.Popen(
        [installed.python, "-c", PROGRAM],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


def begin_round(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def check_threads(events: list[Event]) -> None:
    """Nothing is missing, twice or torn: each thread's own count is in its arguments."""
    done: dict[str, list[int]] = defaultdict(list)
    for event in events:
        if event.event == "work":
            thread, i, text = event.values
            assert text == "x" * (i % 300)
            done[f"{event.thread.slot}: {thread}"].append(i)
    assert all(found == list(range(len(found))) for found in done.values())


def until_done(events: Iterator[Event], rounds: int) -> list[Event]:
    found: list[Event] = []
    while rounds:
        found.append(next(events))
        rounds -= found[-1].event == "round done"
    return found


def test_follow_misses_and_repeats_nothing(installed: Installed, tmp_path: Path) -> None:
    stop = threading.Event()
    with writing(installed, tmp_path) as first:
        journal = Journal(tmp_path)
        begin_round(first)
        early = until_done(journal.follow(OURS, stop, last=None), 1)
        events = journal.follow(OURS, stop)
        begin_round(first)
        begin_round(first)
        with writing(installed, tmp_path) as second:
            begin_round(second)
            late = until_done(events, 3)
    total = (EVENTS // WRITERS + -(-(EVENTS // WRITERS) // 50)) * WRITERS + 1
    assert (len(early), len(late)) == (total, 3 * total)
    assert len({event.id for event in early + late}) == 4 * total
    for process in {event.process.id for event in late}:
        check_threads([event for event in late if event.process.id == process])
    check_threads(early)
    stop.set()
    assert journal.damage() == []
    assert len(list(Path(tmp_path).rglob("*.pyaudit"))) > 2, "more than one segment of a process"


def test_reading_while_it_is_written(installed: Installed, tmp_path: Path) -> None:
    """Whatever instant it is: what is there is whole, and what was there stays."""
    with writing(installed, tmp_path) as process:
        begin_round(process)
        before = 0
        while not any(event.event == "round done" for event in Journal(tmp_path).tail(5)):
            journal = Journal(tmp_path)
            events = list(journal.events(OURS))
            check_threads(events)
            assert len(events) >= before
            assert journal.damage() == []
            before = len(events)
        assert os.listdir(tmp_path / "journal") == [f"u{os.geteuid()}"]


def test_what_led_to_an_event_is_given_out_no_later(
    installed_here: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes raise one event after the other, in turns, while each of their segments is read."""
    program = "import sys\nfor line in sys.stdin: sys.audit('turn', int(line)); print(flush=True)"
    environment = installed_here.environment(PYTHONAUDIT="1", PYTHONAUDIT_DIR=tmp_path)
    pair = [
        subprocess.Popen(
            [installed_here.python, "-c", program],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    raised = 0

    def take_turns(times: int) -> None:
        nonlocal raised
        for _ in range(times):
            one = pair[raised % 2]
            raised += 1
            assert one.stdin is not None and one.stdout is not None
            print(raised, file=one.stdin, flush=True)
            assert one.stdout.readline() == "\n"

    has_news = Watched.has_news

    def take_turns_and_look(watched: Watched) -> bool:
        take_turns(4)
        return has_news(watched)

    take_turns(4)
    follower = Follower(Journal(tmp_path))
    _, found = follower.begin()
    monkeypatch.setattr(Watched, "has_news", take_turns_and_look)
    seen: list[int] = []
    while len(seen) < 40:
        events = [event for one in found for event in one.events(np.arange(len(one.segment.events)))]
        turns = [event.values[0] for event in events if event.event == "turn"]
        seen = sorted([*seen, *turns])
        assert seen == list(range(1, len(seen) + 1))
        found = follower.poll()
    for one in pair:
        one.communicate()
