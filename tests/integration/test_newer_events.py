"""What 3.14 and 3.15 raise that no earlier version does, from real processes."""

from __future__ import annotations

import pytest

from tests.conftest import Installed
from tests.fault.ways import WAYS, record
from tests.recorded import is_whole

PROGRAM = """
import sys
lazy import colorsys
lazy from fractions import Fraction
sys.audit("app.before")
def use():
    return colorsys.rgb_to_hsv(1, 0, 0)
use()
sys.audit("app.between")
use()
print(Fraction(1, 2))
"""


@pytest.mark.parametrize("way", WAYS)
def test_lazy_imports(installed: Installed, way: str) -> None:
    """PEP 810: the event comes with the first use, from the code that uses it."""
    if installed.interpreter.version < (3, 15):
        pytest.skip("lazy imports are new in 3.15")
    recording = record(installed, way, PROGRAM)
    assert recording.completed.stdout == "1/2\n", recording.completed.stderr
    marks = {event.event: event.number for event in recording.events() if event.event.startswith("app.")}
    (colorsys,) = [event for event in recording.events("import") if event.values[0] == "colorsys"]
    (fractions,) = [event for event in recording.events("import") if event.values[0] == "fractions"]
    assert marks["app.before"] < colorsys.number < marks["app.between"] < fractions.number
    assert "use" in [function for _, _, function in colorsys.stack]
    assert "<module>" in [function for _, _, function in fractions.stack]
    assert is_whole(recording)


CALLS = """
import ctypes, subprocess
def call():
    return ctypes.CDLL(None).getpid()
call()
def start():
    command = ["/bin/true", "--password=hunter2-of-mine", "plain"]
    return subprocess.run(command, env={"TOKEN": "secret-of-mine"}, start_new_session=True)
start()
"""


@pytest.mark.parametrize("way", WAYS)
def test_calls_of_c_and_starts_of_processes(installed: Installed, way: str) -> None:
    if installed.interpreter.version < (3, 14):
        pytest.skip("these events are new in 3.14")
    recording = record(installed, way, CALLS)
    assert recording.completed.returncode == 0, recording.completed.stderr
    called = [e for e in recording.events("ctypes.call_function") if e.stack[0][2] == "call"]
    assert [(e.category, e.source, len(e.values)) for e in called] == [("native", "interpreter", 2)]
    (started,) = recording.events("_posixsubprocess.fork_exec")
    assert started.source == "interpreter"
    assert "start" in [function for _, _, function in started.stack]
    assert "--password=***" in started.values[1]
    assert started.values[1][0] == "/bin/true"
    assert "masked" in started.notes
    for path in recording.directory.rglob("*.pyaudit"):
        assert b"hunter2-of-mine" not in path.read_bytes()
        assert b"secret-of-mine" not in path.read_bytes()
