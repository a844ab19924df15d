"""Programs that are not Python, started by one that is recorded: as without us, and with nothing of ours in them."""

from __future__ import annotations

import shutil

import pytest

from tests.conftest import Installed
from tests.fault.ways import record_beside
from tests.recorded import is_whole

PROGRAMS = {
    "bash": ["bash", "-c", "echo out; echo err >&2; grep -c _recorder /proc/$$/maps; exit 3"],
    "git": ["git", "-c", "alias.look=!grep -c _recorder /proc/$PPID/maps", "look"],
    "curl": ["curl", "-sS", "file:///proc/self/maps", "-o", "maps"],
    "java": ["java", "-XX:+UseSerialGC", "-Xshare:auto", "-version"],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_unharmed(installed_here: Installed, way: str, name: str) -> None:
    """The same output and status; no recorder is loaded, and no journal begun."""
    if not shutil.which(name):
        pytest.skip(f"no {name} here")
    program = f"""
import os, subprocess, sys, tempfile
sys.audit("app.event", 0)
with tempfile.TemporaryDirectory() as place:
    done = subprocess.run({PROGRAMS[name]!r}, cwd=place, capture_output=True, text=True)
    print(done.returncode, done.stdout, done.stderr)
    maps = os.path.join(place, "maps")
    if os.path.exists(maps):
        print("loaded", "_recorder" in open(maps).read())
"""
    recording = record_beside(installed_here, way, program)
    said = recording.completed.stdout
    if name in ("bash", "git"):
        assert "0" in said.split()
    if name == "curl":
        assert "loaded False" in said
    (trail,) = recording.journal.processes()
    assert trail.ended
    assert is_whole(recording)
