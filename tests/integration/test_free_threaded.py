"""What only a build without the GIL can do wrong: switch it on, tear events of threads that really run at once,
or read an argument while another thread changes it. `make free-threaded` brings such a build.
"""

from __future__ import annotations

import pytest

from tests.conftest import FREE_THREADED, Installed
from tests.fault.ways import WAYS, record
from tests.recorded import is_whole, threads

pytestmark = pytest.mark.skipif(not FREE_THREADED, reason="for a free-threaded build: make free-threaded")


@pytest.mark.parametrize("way", WAYS)
def test_the_gil_stays_off(installed: Installed, way: str) -> None:
    program = "import sys; sys.audit('app.gil', sys._is_gil_enabled(), 2**70, 'caf\\xe9', (1, [2, {'a': b'3'}]))"
    recording = record(installed, way, program)
    (event,) = recording.events("app.gil")
    assert event.values[0] is False
    assert event.values[1:] == [{"$int": hex(2**70)}, "caf\xe9", [1, [2, {"a": {"$bytes": "3"}}]]]
    assert [(function, line) for _, line, function in event.stack] == [("<module>", 1)]
    imported = [e for e in recording.journal.events() if e.event == "import"]
    assert (len(imported) > 3) == (way == "preload")


@pytest.mark.parametrize("way", WAYS)
def test_events_of_threads_that_run_at_once(installed: Installed, way: str) -> None:
    count = 5000
    program = f"""
import sys, threading
gate = threading.Barrier(8)
def deep(levels, *args):
    if levels:
        return deep(levels - 1, *args)
    sys.audit(*args)
def work(me):
    gate.wait()
    for n in range({count}):
        deep(n % 5, "app.parallel" if n % 2 else f"Message of {{me}}: n={{n}}", me, n, "x" * (n % 200))
them = [threading.Thread(target=work, args=(me,)) for me in range(8)]
for t in them: t.start()
for t in them: t.join()
"""
    recording = record(installed, way, program)
    found = set()
    for thread in threads(recording.journal.events()).values():
        mine = [e for e in thread if e.event == "app.parallel" or e.event.startswith("Message")]
        if not mine:
            continue
        me = mine[0].values[0]
        assert [e.values for e in mine] == [[me, n, "x" * (n % 200)] for n in range(count)]
        assert [e.event for e in mine[::2]] == [f"Message of {me}: n={n}" for n in range(0, count, 2)]
        assert all(
            [function for _, _, function in e.stack[: n % 5 + 2]] == ["deep"] * (n % 5 + 1) + ["work"]
            for n, e in enumerate(mine)
        )
        found.add(me)
    assert found == set(range(8))
    assert is_whole(recording)


def test_arguments_that_other_threads_change(installed: Installed) -> None:
    """Either as they were at one instant, or their length alone, and the event says so."""
    program = """
import sys, threading
items, table, octets = [], {}, bytearray()
class Named: pass
stop = threading.Event()
def change():
    n = 0
    while not stop.is_set():
        n += 1
        items[:] = [str(n) * 20] * (n % 40)
        items.extend([str(n) for _ in range(n % 90)]); items.clear()
        table.update({f"{n}-{k}": [str(k)] for k in range(n % 30)}); table.clear()
        Named.__module__ = f"module_{n}"
def raising():
    for n in range(20000):
        sys.audit("app.changing", n, items, table, Named())
them = [threading.Thread(target=change) for _ in range(2)]
those = [threading.Thread(target=raising) for _ in range(2)]
for t in them + those: t.start()
for t in those: t.join()
stop.set()
for t in them: t.join()
sys.audit("app.octets", bytearray(b"abc"))
"""
    recording = installed.record(program)
    events = recording.events("app.changing")
    assert len(events) == 40000
    for event in events:
        _, items, table, _ = event.values
        summaries = [v for v in (items, table) if isinstance(v, dict) and "$length" in v]
        assert not summaries or "summarised" in event.notes
    (octets,) = recording.events("app.octets")
    assert octets.values == [{"$length": 3}]
    assert "summarised" in octets.notes
    assert is_whole(recording)


def test_a_list_that_is_locked_is_told_by_its_length(installed: Installed) -> None:
    """list.sort() holds the lock of its list, which is empty meanwhile, and calls the key function."""
    program = """
import sys
items = [3, 1, 2]
items.sort(key=lambda n: sys.audit("app.sorting", n, items) or n)
sys.audit("app.sorted", items)
"""
    recording = installed.record(program)
    assert [e.values for e in recording.events("app.sorting")] == [[n, {"$length": 0}] for n in (3, 1, 2)]
    assert [e.values for e in recording.events("app.sorted")] == [[[1, 2, 3]]]
