"""Our rules: each is written as it should be, matches its sample, and leaves its near miss alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pythonaudit.cli import main
from pythonaudit.detect.explain import prove
from pythonaudit.detect.library import OURS, Library, load_library, rule_files
from pythonaudit.detect.rules import Compiled
from pythonaudit.query.samples import Sample, load_samples
from tests.detection import record
from tests.recorded import SOAK

HERE = Path(__file__).parent
NAMES = [path.stem for path in rule_files(OURS)]
#: What a sample must not tell of the machine on which it was recorded.
OF_ONE_MACHINE = re.compile(r"/(?:tmp|root|home|venv|\.venv)/|site-packages/(?!\w+\.(?:pth|start)|demo|notes)")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    found = load_library(tmp_path_factory.mktemp("store"))
    assert found.refused == []
    return found


def last_of(library: Library, name: str) -> Compiled:
    """The rule of a file that gives alerts: what it refers to stands before it."""
    (*_, rule) = (rule for rule in library.rules if Path(rule.head.file).stem == name)
    return rule


def sample(name: str, which: str) -> list[Sample]:
    path = HERE / name / f"{which}.jsonl"
    return load_samples(path.read_bytes(), str(path))


def test_there_are_rules_and_nothing_else_has_samples() -> None:
    assert len(NAMES) >= 12
    assert sorted(path.name for path in HERE.iterdir() if path.is_dir() and path.name != "__pycache__") == sorted(
        NAMES
    )


@pytest.mark.parametrize("name", NAMES)
def test_samples_tell_nothing_of_the_machine(name: str) -> None:
    for which in ("match", "nomatch"):
        assert not OF_ONE_MACHINE.search((HERE / name / f"{which}.jsonl").read_text())


def test_they_are_written_as_they_should_be_and_samples_prove_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["--dir", str(tmp_path), "rules", "lint", str(OURS), "--samples", str(HERE)])
    assert (status, capsys.readouterr().out) == (0, "")


def test_each_names_techniques_and_levels(library: Library) -> None:
    for name in NAMES:
        assert last_of(library, name).head.techniques, name
    assert {last_of(library, name).head.level for name in NAMES} <= {"low", "medium", "high", "critical"}


@pytest.mark.parametrize("name", NAMES if SOAK > 1 else ["python_audit_repeated_failed_logins"])
def test_what_an_emulation_does_today_proves_the_rule_as_well(library: Library, name: str) -> None:
    fresh = record.record(name)
    assert prove(library, last_of(library, name), fresh["match"], fresh["nomatch"]) == []
    for which, events in fresh.items():
        assert [event["event"] for event in events] == [event["event"] for event in sample(name, which)]
        assert not OF_ONE_MACHINE.search(json.dumps(events))
