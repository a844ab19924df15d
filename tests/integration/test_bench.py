"""`pythonaudit bench`: every row, in every format, with real processes; not how fast anything is."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path

import pytest

from pythonaudit.cli import cmd_bench, cost_child, costs, instructions, main
from pythonaudit.cli.costs import Cost
from pythonaudit.cli.render import Output
from tests import commands
from tests.conftest import Installed

NAMES = ["off", "off-start", "start", "event", "call", "context", "python-hook"]

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
needs_installation = pytest.mark.skipif(not commands.IS_INSTALLED, reason="not installed where the tests run")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As few rounds as there may be, and a place of its own for temporary files."""
    monkeypatch.setattr(costs, "_SECONDS", 0.0)
    monkeypatch.setattr(costs, "_LEAST_ROUNDS", 2)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here can count instructions."""
    monkeypatch.setattr(costs, "find_counter", lambda: None)


def bench(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["bench", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


@needs_installation
@pytest.mark.skipif(instructions.find_counter() is None, reason="neither perf nor valgrind works here")
def test_rows_for_programs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, err = bench(capsys, "--format", "jsonl")
    assert status == 0
    rows = {row["name"]: row for row in map(json.loads, out.splitlines())}
    assert list(rows) == NAMES
    for row in rows.values():
        assert row["low"] <= row["value"] <= row["high"]
        assert row["goal"]
        assert row["text"]
    # Instructions repeat (but for where things come to lie): off is off, whatever the machine does.
    assert rows["off"]["value"] == pytest.approx(1.0, abs=0.001)
    assert rows["off"]["rounds"] == 1
    assert rows["off"]["method"].startswith("instructions (")
    assert 1.0 < rows["off-start"]["value"] < 1.1
    assert rows["event"]["rounds"] == 2
    assert rows["event"]["value"] > 0
    assert rows["call"]["value"] > 1
    assert rows["python-hook"]["value"] > 1
    noisy = [name for name, row in rows.items() if row["noisy"]]
    assert ("too noisy" in err) == bool(noisy)
    assert list(tmp_path.iterdir()) == []


@needs_installation
def test_times_where_nothing_counts(capsys: pytest.CaptureFixture[str], uncounted: None) -> None:
    status, out, _ = bench(capsys, "--format", "csv")
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["name"] for row in rows] == NAMES
    assert {row["method"] for row in rows} == {"processor time"}
    assert {row["rounds"] for row in rows} == {"2"}


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    rows = [
        Cost("off", "off: sys.audit()", "1.000", 1.0, 1.0, 1.0, "", "instructions (perf)", 1),
        Cost("event", "an event", "≤ 100 ns", 97.3, 80.0, 120.0, "ns", "processor time", 9),
        Cost("call", "a call", "≤ 2.5", 2.345, 2.3, 2.4, "", "processor time", 9),
    ]
    cmd_bench._write_table(output, rows)
    output.flush()
    build, _, *lines = capsys.readouterr().out.splitlines()
    assert build.startswith("CPython 3.")
    assert [line.split("  ") and " ".join(line.split()) for line in lines] == [
        "what goal here middle half",
        "off: sys.audit() 1.000 1.000",
        "an event ≤ 100 ns 97 ns 80 to 120",
        "a call ≤ 2.5 2.35 2.30 to 2.40",
    ]
    assert [row.is_noisy for row in rows] == [False, True, False]


def test_wrong_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(capsys, "--format", "xml")[0] == 2


def test_not_installed(capsys: pytest.CaptureFixture[str], installed_here: Installed) -> None:
    """An environment in which recording could not begin by itself."""
    (pth,) = installed_here.purelib.glob("pythonaudit.pth")
    aside = pth.rename(pth.with_suffix(".aside"))
    try:
        probe = [installed_here.python, "-c", "from pythonaudit.cli.costs import Bench; Bench(None)"]
        done = installed_here.run(*probe[1:], status=1)
    finally:
        aside.rename(pth)
    assert "there is no pythonaudit.pth in" in done.stderr


@needs_installation
def test_inside_of_a_recorded_tree(tmp_path: Path) -> None:
    """Everything that would be measured is recorded: there is nothing to compare."""
    done = commands.run(tmp_path / "audit", "run", "--", *commands.COMMAND, "bench")
    assert done.returncode == 3
    assert "this process is recorded already" in done.stderr
    assert done.stdout == ""


def test_idle_hook(installed: Installed) -> None:
    """It does nothing, and is refused where something is recorded."""
    program = (
        "from pythonaudit.recorder import add_idle_hook; import sys; print(add_idle_hook()); sys.audit('x', 1)"
    )
    assert installed.run("-c", program).stdout == "True\n"
    recorded = installed.record(program)
    assert recorded.completed.stdout == "False\n"
    assert [event.values for event in recorded.events("x")] == [[1]]


def test_the_hook_to_compare_with_writes_what_happened(tmp_path: Path, installed_here: Installed) -> None:
    env = installed_here.environment(PYTHONAUDIT_DIR=tmp_path)
    done = installed_here.run(cost_child.__file__, "json-stack", "16", "3", "2", env=env)
    assert len(done.stdout.split()) == 2
    (written,) = tmp_path.glob("*.jsonl")
    lines = [json.loads(line) for line in written.read_text().splitlines()]
    events = [line for line in lines if line["event"] == "app.event"]
    assert [event["args"] for event in events] == [[1, "x"]] * 6
    assert {len(event["stack"]) for event in events} == {16}
