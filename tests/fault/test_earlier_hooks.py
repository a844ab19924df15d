"""Audit hooks of others that are in before ours: of a library (first_hook.c), of an earlier .pth file (first_hook.py).

A hook of C's is asked before all of Python's, each in the order in which they came. So one of C's that is in before
ours keeps from us what it refuses; a Python one cannot. By `run` ours is put in where nobody is asked yet.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pythonaudit.cli.interpreters import Interpreter
from tests.conftest import EXTREMES, Installed, Recording
from tests.fault.ways import OLDEST_AND_NEWEST, record, record_beside
from tests.recorded import is_whole

HERE = Path(__file__).resolve().parent
VETOES = ("vetoes", "vetoes with an error", "vetoes with an end")
PROGRAM = """
import os, sys, threading
def attempt(name, n):
    try:
        sys.audit(name, n)
    except BaseException as error:
        print(name, n, type(error).__name__)
def work(me):
    for n in range(100):
        attempt("app.event", me * 100 + n)
        attempt("app.refused", me * 100 + n)
for me in range(3):
    thread = threading.Thread(target=work, args=(me,))
    thread.start()
    thread.join()
open("/dev/null").close()
if not os.fork():
    attempt("app.child", 0)
    os._exit(5)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
STATE = "from pythonaudit.recorder import status; print(status()['state'], status()['canary'])"


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """first_hook.c as a library to be preloaded."""
    built = tmp_path_factory.mktemp("first") / "first_hook.so"
    command = ["cc", "-O1", "-Wall", "-Wextra", "-fPIC", "-shared", "-Wl,-z,initfirst", "-o", built]
    subprocess.run([*command, HERE / "first_hook.c"], check=True)
    return built


@pytest.fixture(scope="session", params=EXTREMES)
def with_pth(request: pytest.FixtureRequest, install: Callable[[Interpreter], Installed]) -> Installed:
    """An environment in which `site` runs first_hook.py before us."""
    environment = install(request.param)
    shutil.copy(HERE / "first_hook.py", environment.purelib)
    (environment.purelib / "a_first.pth").write_text("import first_hook\n")
    return environment


def can_veto(installed: Installed, way: str) -> bool:
    """Whether an earlier hook keeps ours out: on CPython 3.15, these do not."""
    return way == "site" and installed.interpreter.version < (3, 15)


def kept_out(recording: Recording) -> bool:
    """The journal says that there was no hook of ours, and holds nothing. (What is forked then leaves none.)"""
    (trail,) = recording.journal.processes()
    return not trail.process.canary and not trail.events


def numbers(recording: Recording, name: str) -> list[int]:
    return [event.values[0] for event in recording.events(name)]


@OLDEST_AND_NEWEST
@pytest.mark.parametrize("how", VETOES)
def test_library_that_vetoes(installed: Installed, way: str, compiled: Path, how: str) -> None:
    settings = {"LD_PRELOAD": compiled, "HOOK": how}
    recording = record_beside(installed, way, PROGRAM, settings)
    state = record(installed, way, STATE, settings).completed
    if can_veto(installed, way):
        assert kept_out(recording)
        assert state.stdout == "vetoed False\n"
    else:
        assert numbers(recording, "app.event") == list(range(300))
        assert state.stdout == "recording True\n"
        assert is_whole(recording)


@OLDEST_AND_NEWEST
def test_library_that_refuses(installed: Installed, way: str, compiled: Path) -> None:
    """What a hook before ours refuses does not happen, and does not come to us; the rest does."""
    recording = record_beside(installed, way, PROGRAM, {"LD_PRELOAD": compiled, "HOOK": "refuses some"})
    assert recording.completed.stdout.count("app.refused") == 300
    assert numbers(recording, "app.event") == list(range(300))
    assert numbers(recording, "app.child") == [0]
    assert not numbers(recording, "app.refused")
    assert is_whole(recording)


@OLDEST_AND_NEWEST
def test_library_that_recurses(installed: Installed, way: str, compiled: Path) -> None:
    """Its events come before the one that it is asked about, in one thread with it."""
    recording = record_beside(installed, way, PROGRAM, {"LD_PRELOAD": compiled, "HOOK": "recurses"})
    mine = [e for e in recording.journal.events() if e.event.startswith("app.")]
    assert len(mine) == 2 * (600 + 1)
    for inner, outer in zip(mine[::2], mine[1::2], strict=True):
        assert (inner.event, inner.values) == ("app.inner", [outer.event])
        assert inner.stack == outer.stack
    assert is_whole(recording)


@OLDEST_AND_NEWEST
def test_library_that_refuses_what_it_does_not_know(installed: Installed, way: str, compiled: Path) -> None:
    """Our own event is refused; those of the application come, and they prove the hook as well."""
    settings = {"LD_PRELOAD": compiled, "HOOK": "refuses what it does not know"}
    recording = record_beside(installed, way, PROGRAM, settings)
    assert numbers(recording, "app.event") == list(range(300))
    assert all(trail.process.canary for trail in recording.journal.processes())
    assert record(installed, way, STATE, settings).completed.stdout == "recording True\n"
    assert is_whole(recording)


@pytest.mark.parametrize("how", VETOES)
def test_pth_that_vetoes(with_pth: Installed, way: str, how: str) -> None:
    recording = record_beside(with_pth, way, PROGRAM, {"HOOK": how})
    state = record(with_pth, way, STATE, {"HOOK": how}).completed
    if can_veto(with_pth, way):
        assert kept_out(recording)
        assert state.stdout == "vetoed False\n"
        (trail,) = recording.journal.processes()
        began = trail.process.attributes["began"]
        assert str(with_pth.purelib / "a_first.pth") in began["pth"]
        assert "first_hook" in began["modules"]
    else:
        assert numbers(recording, "app.event") == list(range(300))
        assert state.stdout == "recording True\n"
        assert is_whole(recording)


@pytest.mark.parametrize("how", ["refuses some", "refuses what it does not know"])
def test_pth_that_refuses(with_pth: Installed, way: str, how: str) -> None:
    """Ours is asked first, and has what was refused too."""
    recording = record_beside(with_pth, way, PROGRAM, {"HOOK": how})
    for name in ("app.event", "app.refused"):
        assert numbers(recording, name) == list(range(300))
    assert record(with_pth, way, STATE, {"HOOK": how}).completed.stdout == "recording True\n"
    assert is_whole(recording)


def test_pth_that_recurses(with_pth: Installed, way: str) -> None:
    """Its events come after the one that it is asked about."""
    recording = record_beside(with_pth, way, PROGRAM, {"HOOK": "recurses"})
    mine = [e for e in recording.journal.events() if e.event.startswith("app.")]
    assert len(mine) == 2 * (600 + 1)
    for outer, inner in zip(mine[::2], mine[1::2], strict=True):
        assert (inner.event, inner.values) == ("app.inner", [outer.event])
        assert inner.stack[0][2] == "hook"
        assert inner.stack[1:] == outer.stack
    assert is_whole(recording)


@pytest.mark.parametrize("how", ["refuses our import", "ends at our import"])
def test_pth_that_keeps_our_package_out(with_pth: Installed, way: str, how: str) -> None:
    """By `run` nothing is imported. Else nothing is recorded, and who does not want to run so is told."""
    if way == "site":
        recording = record_beside(with_pth, way, PROGRAM, {"HOOK": how})
        assert not list(recording.directory.iterdir())
        stopped = record(with_pth, way, PROGRAM, {"HOOK": how, "PYTHONAUDIT_ON_FAILURE": "stop"}).completed
        assert (stopped.returncode, stopped.stdout) == (78, "")
        (line,) = stopped.stderr.splitlines()
        assert line.startswith("pythonaudit: this process cannot be recorded (refused)")
        return
    directory = with_pth.new_directory()
    run = [with_pth.python, "-m", "pythonaudit", "run", "-q", "--dir", directory, "--"]
    recorded = with_pth.run(*run[1:], "env", f"HOOK={how}", with_pth.python, "-c", PROGRAM)
    bare = with_pth.run("-c", PROGRAM, env=with_pth.environment(HOOK=how))
    assert (recorded.stdout, recorded.stderr) == (bare.stdout, bare.stderr)
    recording = Recording(directory, recorded)
    assert numbers(recording, "app.event") == list(range(300))
    assert is_whole(recording)
