"""Threads whose stack ends right behind what they do: recording takes a few KiB of it, and no more.

How deep a thread can get, and still raise its events, is tried out in each interpreter without us. With so much
more of a stack, it gets as deep recorded: `USUAL` for events, `SEGMENT` where one of them begins a segment or has
to make room for it.
"""

from __future__ import annotations

import pytest

from tests.conftest import Installed
from tests.fault.ways import record_beside
from tests.recorded import is_whole, lost, threads

USUAL, SEGMENT = 4096, 8192

#: `map` keeps a stack of C growing in versions whose calls of Python do not. At the bottom, `count` large events.
PROGRAM = """
import os, sys, threading
sys.setrecursionlimit(100_000)
def get(size, depth, count):
    threading.stack_size(size)
    reached = []
    def fall(n):
        sys.audit("app.deep", n, {"key": [1, (2, {"b": "password=x"})]}, f"message {n}")
        if n < depth:
            next(map(fall, [n + 1]))
        else:
            for i in range(count):
                sys.audit("app.bottom", i, "x" * 900)
            reached.append(n)
    thread = threading.Thread(target=fall, args=(0,))
    thread.start()
    thread.join()
    return reached == [depth]
"""

#: What a child that this kills, or stops with an exception, cannot do. The least stack, and how deep one gets on it.
SEARCH = """
def can(*arguments):
    pid = os.fork()
    if not pid:
        os.close(2)
        os._exit(not get(*arguments))
    return os.waitpid(pid, 0)[1] == 0
def is_allowed(size):
    try:
        threading.stack_size(size)
    except ValueError:
        return False
    return True
size = next(size for size in range(32768, 1 << 20, 4096) if is_allowed(size) and can(size, 0, COUNT))
most, beyond = 0, 10_000
while beyond - most > 1:
    middle = (most + beyond) // 2
    if can(size, middle, COUNT):
        most = middle
    else:
        beyond = middle
print(size, most)
"""


@pytest.mark.parametrize(
    ("count", "limit", "more"),
    [(10, "2G", USUAL), (6000, "2G", SEGMENT), (6000, "2M", SEGMENT)],
    ids=["usual", "next segment", "room for a segment"],
)
def test_deep_on_a_small_stack(installed: Installed, way: str, count: int, limit: str, more: int) -> None:
    size, depth = map(int, installed.run("-c", PROGRAM + SEARCH.replace("COUNT", str(count))).stdout.split())
    assert depth > 5
    program = PROGRAM + f"print(get({size + more}, {depth}, {count}), get({size}, 0, {count}))"
    recording = record_beside(
        installed, way, program, {"PYTHONAUDIT_MAX_BYTES": limit, "PYTHONAUDIT_EVENTS": "app"}
    )
    assert recording.completed.stdout == "True True\n"
    assert not list(recording.journal.damage())
    losses = lost(recording)
    if limit == "2G":
        assert is_whole(recording)
        assert [len(events) for events in threads(recording.journal.events()).values()] == [
            depth + 1 + count,
            1 + count,
        ]
    else:
        assert losses.keys() == {"evicted", "missing-segments"}
        assert len(recording.events()) + losses["evicted"] == depth + 1 + count + 1 + count
