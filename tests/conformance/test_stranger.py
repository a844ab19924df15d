"""Our reader and a stranger's agree, on made journals and on real ones of every interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.reader import Journal
from pythonaudit.journal.segment import parse_segment
from pythonaudit.journal.summary import named_losses, summarise_segment
from tests.conformance import stranger
from tests.conftest import Installed
from tests.journals import SAMPLES

#: Threads, forks, interpreters, free-form names, all forms of arguments, events in a signal handler.
PROGRAM = r"""
import os, pythonaudit, signal, socket, subprocess, sys, tempfile, threading
sys.audit("User logged in: username=johndoe, ip=192.168.0.1")
sys.audit("shop.order.paid", {"order": 7, "amount": 12.5, "$": [None, True, 2**70, float("nan")]}, b"\xff", "\udcff")
sys.audit("deep", [[[[[[[[1]]]]]]]], list(range(500)), "x" * 10000, object(), {1, 2}, {(1,): 2, 3: 4, None: 5})
def work(n):
  with pythonaudit.context(worker=n, user="johndoe", token="0123456789abcdef", odd=float("nan"), of=object()):
    for i in range(200):
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
        sys.audit(f"step {n}: i={i}")
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
child = os.fork()
if child == 0:
    sys.audit("in the child")
    os._exit(0)
os.waitpid(child, 0)
signal.signal(signal.SIGUSR1, lambda *_: sys.audit("signal"))
os.kill(os.getpid(), signal.SIGUSR1)
def recurse(n):
    return recurse(n - 1) if n else sys.audit("deep stack")
recurse(200)
for interpreters in ("_xxsubinterpreters", "_interpreters"):
    try:
        module = __import__(interpreters)
    except ImportError:
        continue
    name = module.create()
    module.run_string(name, "import sys; sys.audit('in another interpreter')")
    module.destroy(name)
subprocess.run([sys.executable, "-c", "import json"], check=True)
exec(compile("import sys; sys.audit('dynamic')", "<made>", "exec"))
"""


def ours(data: bytes) -> list[dict[str, Any]]:
    segment = parse_segment(data)
    decoder = SegmentDecoder(segment, 0)
    return [
        {
            "slot": event.thread.slot,
            "number": event.number,
            "time_ns": event.time_ns,
            "event": event.event,
            "source": event.source,
            "args": event.values,
            "tid": event.tid,
            "thread": event.thread.name or "",
            "interpreter": event.interpreter,
            "stack": [
                {"file": file, "function": function} | ({"line": line} if line else {})
                for file, line, function in event.stack
            ],
            "context": event.context,
            "notes": list(event.notes),
        }
        for event in decoder.events(np.arange(len(segment.events)))
    ]


def check(data: bytes) -> int:
    """Holds both readers' views of a segment against each other; how many events there are."""
    theirs = stranger.Segment(data).read()
    assert ours(data) == theirs.events
    segment = parse_segment(data)
    counts: dict[tuple[str, str], int] = {}
    for one in segment.counts:
        key = segment.text(one.name), stranger.SOURCES[one.source]
        counts[key] = counts.get(key, 0) + one.count
    assert counts == theirs.counts
    assert named_losses(segment.header) == theirs.losses
    assert SegmentDecoder(segment, 0).process.attributes == theirs.attributes
    assert bool(segment.damage) == theirs.damaged
    summary = summarise_segment(data)
    assert summary.events == len(theirs.events)
    assert summary.counted == sum(counts.values())
    assert summary.attributes == theirs.attributes
    return len(theirs.events)


@pytest.mark.parametrize("name", SAMPLES)
def test_made_journals(name: str) -> None:
    assert check(SAMPLES[name]()) > 0


@pytest.mark.parametrize("settings", [{}, {"PYTHONAUDIT_EVENTS": "all", "PYTHONAUDIT_REVEAL": "code"}], ids=str)
def test_real_journals(installed: Installed, settings: dict[str, str]) -> None:
    recording = installed.record(PROGRAM, settings=settings)
    paths = sorted(recording.directory.rglob("*.pyaudit"))
    assert len(paths) >= 3, "the program, its forked child and its subprocess"
    events = sum(check(path.read_bytes()) for path in paths)
    journal = Journal(recording.directory)
    assert events == len(list(journal.events())) > 1000
    assert journal.damage() == []


def test_the_stranger_shares_nothing_with_us() -> None:
    text = Path(stranger.__file__).read_text()
    imported = {
        line.split()[1].partition(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))
    }
    assert imported == {"__future__", "collections", "dataclasses", "json", "pathlib", "struct", "sys", "typing"}
