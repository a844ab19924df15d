"""PYTHONAUDIT_MAX_BYTES: a directory never takes more, and what it could not hold is counted to the event."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Installed
from tests.recorded import lost, total

MIB = 1 << 20
# With every event recorded, and none counted by name.
ALL: dict[str, str | Path] = {"PYTHONAUDIT_EVENTS": "all"}
RAISE = """
import sys
for n in range({}):
    sys.audit("app.event", n, "x" * 900)
"""


def allocated(directory: Path) -> int:
    return sum(f.stat().st_size for f in directory.rglob("*.pyaudit"))


@pytest.mark.parametrize("limit", [1 * MIB, 2 * MIB, 10 * MIB])
def test_limit_with_oldest(installed_here: Installed, limit: int) -> None:
    """The oldest go, counted; the newest are there to the last one."""
    program = RAISE.format(20000)
    settings: dict[str, str | Path] = {"PYTHONAUDIT_MAX_BYTES": str(limit)}
    fine = installed_here.record(program, settings=ALL)
    recording = installed_here.record(program, settings=ALL | settings)
    assert allocated(recording.directory) <= limit
    assert total(recording) == total(fine)
    assert set(lost(recording)) == {"evicted", "missing-segments"}
    kept = [e.values[0] for e in recording.events("app.event")]
    assert kept == list(range(kept[0], 20000))
    assert len(kept) * 900 > limit / 4


def test_limit_with_oldest_over_processes(installed_here: Installed) -> None:
    """Those that have ended go first, whoever needs the room; what went with them is counted by who removed it."""
    directory = installed_here.new_directory()
    settings: dict[str, str | Path] = ALL | {"PYTHONAUDIT_MAX_BYTES": str(2 * MIB)}
    program = RAISE.format(500)
    fine = installed_here.record(program, settings=ALL)
    for _ in range(10):
        recording = installed_here.record(program, directory=directory, settings=settings)
        assert allocated(directory) <= 2 * MIB
    last = recording.journal.processes()[-1]
    assert last.events == total(fine)
    assert lost(recording)["evicted"] > 1000
    # Losses in a segment that is itself evicted are counted by whoever evicts it.
    assert total(recording) == 10 * total(fine)


@pytest.mark.parametrize("limit", [1 * MIB, 6 * MIB])
def test_limit_with_stop(installed_here: Installed, limit: int) -> None:
    program = RAISE.format(20000)
    settings: dict[str, str | Path] = {"PYTHONAUDIT_MAX_BYTES": str(limit), "PYTHONAUDIT_ON_FULL": "stop"}
    fine = installed_here.record(program, settings=ALL)
    recording = installed_here.record(program, settings=ALL | settings)
    assert allocated(recording.directory) <= limit
    assert total(recording) == total(fine)
    assert set(lost(recording)) == {"limit"}
    kept = [e.values[0] for e in recording.events("app.event")]
    assert kept == list(range(len(kept)))
    assert len(kept) * 900 > limit / 2
