"""Killed at each step of using a segment again: nothing is lost but what was read out or had to go."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pythonaudit.cli.interpreters import Interpreter
from pythonaudit.journal import layout
from tests.conftest import Installed, Recording
from tests.native import failing_calls
from tests.recorded import SOAK

#: Segments are a quarter of a MiB, by the limit. Prints a byte for each event that is recorded.
PROGRAM = """
import glob, os, struct, sys

def publish(segments):
    (path, *_) = glob.glob(os.environ["BOX"] + "/*.pyaudit")
    process = os.path.basename(path).split("-")[1]
    place = os.path.dirname(os.path.dirname(os.environ["BOX"])) + "/drained"
    os.mkdir(place)
    with open(f"{place}/{process}", "wb") as file:
        file.write(struct.pack("<8s16sII", b"PYDRAIN\\n", bytes.fromhex(process), segments, 0))

for n in range(1600):
    if n == 700 and os.environ["DRAINED"] != "0":
        publish(int(os.environ["DRAINED"]))
    sys.audit("app.event", n, "x" * 900)
    os.write(1, b".")
"""
#: Wrapped calls of a rotation before the rename and after it.
BEFORE, AFTER = 30, 14


@pytest.fixture(scope="module")
def environment(
    newest: Interpreter, install: Callable[[Interpreter], Installed], tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    """One of its own, whose recorder can be killed at each call."""
    installed = install(newest)
    built = failing_calls.build(tmp_path_factory.mktemp("killed"), "_recorder", installed.interpreter)
    shutil.copy(built, installed.purelib / "pythonaudit")
    return installed


def run(installed: Installed, drained: int, **variables: str) -> tuple[Recording, int]:
    """A recording, and how many events there were."""
    directory = installed.new_directory()
    settings = {
        "PYTHONAUDIT": "1",
        "PYTHONAUDIT_DIR": str(directory),
        "PYTHONAUDIT_EVENTS": "app",
        "PYTHONAUDIT_MAX_BYTES": "16M" if drained else "1M",
        "BOX": str(directory / "journal" / f"u{os.geteuid()}"),
        "DRAINED": str(drained),
    }
    command = [installed.python, "-c", PROGRAM]
    if drained:  # not the limit of the directory makes them small
        command = ["prlimit", f"--fsize={256 << 10}", "--", *command]
    done = subprocess.run(command, env=installed.environment(**settings, **variables), capture_output=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return Recording(directory, subprocess.CompletedProcess([], done.returncode)), len(done.stdout)


@pytest.mark.parametrize("drained", [0, 2], ids=["at the limit", "read out"])
def test_killed_at_each_step(environment: Installed, tmp_path: Path, drained: int) -> None:
    trace = tmp_path / "calls"
    run(environment, drained, TRACE_CALLS=str(trace))
    renames = [i for i, name in enumerate(trace.read_text().split(), 1) if name == "renameat"]
    assert len(renames) >= 2
    killed = 0
    for rename in renames[: 2 if SOAK == 1 else None]:
        for call in range(rename - BEFORE, rename + AFTER, 1 if SOAK > 1 else 2):
            recording, raised = run(environment, drained, KILL_AT=str(call))
            killed += recording.completed.returncode != 0
            journal = recording.journal
            heads = {head.header.sequence: head for head in journal.heads()}
            events = [event for event in journal.events() if event.event == "app.event"]
            kept = [event.values[0] for event in events]
            assert kept == list(range(kept[0], kept[0] + len(kept))), call
            assert kept[-1] + 1 in (raised, raised + 1), call
            assert not journal.damage(), call
            assert not list(recording.directory.rglob("*.new"))
            if drained:
                first = min(heads)
                assert first <= drained and sorted(heads) == list(range(first, max(heads) + 1)), call
                assert {loss.reason for loss in journal.losses()} == set(), call
            else:
                evicted = sum(loss.count for loss in journal.losses() if loss.reason == "evicted")
                missing = sum(loss.count for loss in journal.losses() if loss.reason == "missing-segments")
                assert bool(missing) == (kept[0] > 0), call
                assert evicted <= kept[0], call
            assert all(head.header.state != layout.STATE_VOID for head in heads.values())
    assert killed > BEFORE // 2
