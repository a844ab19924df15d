"""The catalog against every interpreter at hand: what it says is raised is raised, and nothing else.

`trigger_events.py` raises the events, `silent_operations.py` does what should raise none.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pythonaudit import catalog
from pythonaudit.catalog.gaps import gaps
from pythonaudit.cli.interpreters import Interpreter

HERE = Path(__file__).parent

# A Python hook is gone by then. The recorder, a hook of C, sees it.
C_ONLY = {"cpython._PySys_ClearAuditHooks"}

# What some builds or distributions of Python leave out.
OPTIONAL = {"sqlite3.enable_load_extension", "sqlite3.load_extension", "ensurepip.bootstrap"}

# Gaps that no program of the standard library alone can show.
UNTRIED = {"extensions"}

# Gaps in modules that a build or a version may lack.
OPTIONAL_GAPS = {"readline-history", "certificates", "tls", "sql", "subinterpreters"}


def _run(interpreter: Interpreter, program: str, *arguments: str) -> str:
    done = subprocess.run(
        [interpreter.executable, HERE / program, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _version(interpreter: Interpreter) -> str:
    return "{}.{}".format(*interpreter.version)


@pytest.fixture(scope="session")
def raised(interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, int]]:
    """Name and number of arguments of each event that the trigger program raised."""
    out = tmp_path_factory.mktemp("raised") / "events.jsonl"
    _run(interpreter, "trigger_events.py", str(out))
    lines = (json.loads(line) for line in out.read_text("utf-8").splitlines())
    return {(line["event"], line["args"]) for line in lines}


def test_raised_events_are_those_of_the_catalog(interpreter: Interpreter, raised: set[tuple[str, int]]) -> None:
    version = _version(interpreter)
    expected = {
        name
        for name, info in catalog.events().items()
        if version in info.raised and info.platform in ("all", "posix", "linux")
    }
    names = {name for name, _ in raised}
    assert names - expected == set()
    assert expected - names - OPTIONAL == C_ONLY
    assert len(names) >= 135


def test_argument_counts_are_those_of_the_catalog(interpreter: Interpreter, raised: set[tuple[str, int]]) -> None:
    different = []
    for name, count in sorted(raised):
        names = catalog.argument_names(name, count + 1, interpreter.version[:2])
        named = [text for position, text in enumerate(names) if text != f"arg{position}"]
        if len(named) != count:
            different.append((name, count, named))
    assert different == []


def test_gaps_are_silent_where_the_catalog_says_so(interpreter: Interpreter) -> None:
    version = _version(interpreter)
    lines = map(json.loads, _run(interpreter, "silent_operations.py").splitlines())
    seen = {line["gap"]: line["raised"] for line in lines}
    assert set(seen) == {gap.name for gap in gaps()} - UNTRIED
    for gap in gaps():
        events = seen.get(gap.name)
        if events is None:
            assert gap.name in OPTIONAL_GAPS | UNTRIED
        elif version in gap.versions:
            assert gap.event not in events if gap.event else events == [], gap.name
        else:
            assert gap.event in events if gap.event else events, gap.name
