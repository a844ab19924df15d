"""`pythonaudit ingest` with a configuration that says what is kept; and the configurations that the guide shows."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from pythonaudit.agent.config import Hold, Retention, parse_config
from tests.archives import DAY_NS, archived_journal, lines, write
from tests.commands import run
from tests.conftest import ROOT
from tests.seals import check_sealed, records


def fill(directory: Path, *ages: int) -> None:
    for process, age in enumerate(ages, 1):
        write(directory, process, begin_ns=time.time_ns() - age * DAY_NS)
        assert run(directory, "ingest").returncode == 0


@pytest.mark.parametrize("seal", [False, True])
def test_what_went_is_one_line(tmp_path: Path, seal: bool) -> None:
    (tmp_path / "journal").mkdir()
    if seal:
        assert run(tmp_path, "keys", "init").returncode == 0
    fill(tmp_path, 40, 35, 10)
    done = run(tmp_path, "ingest")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    hold = '[[hold]]\nname = "case-17"\nreason = "a letter"\nuntil = 2026-01-01T00:00:00Z\n'
    (tmp_path / "config.toml").write_text("[retention]\n" + hold)
    done = run(tmp_path, "ingest", "--compact")
    first, second = done.stdout.splitlines()
    assert first == "0 events of 0 segments archived"
    assert re.fullmatch(r"retention: removed 6 events in 2 batches, [0-9TZ:-]{20} to [0-9TZ:-]{20}", second)
    assert run(tmp_path, "ingest").stdout.splitlines()[1] == "retention: nothing removed"
    assert len(lines(archived_journal(tmp_path))) == 3
    if seal:
        assert [record["events"] for record in records(tmp_path, "dropped")] == [6]
        assert [record["hold"] for record in records(tmp_path, "hold")] == ["case-17"]
        assert check_sealed(tmp_path) == 3


def test_what_is_held_is_said(tmp_path: Path) -> None:
    fill(tmp_path, 40)
    hold = '[[hold]]\nname = "case-17"\nreason = "a letter"\n'
    (tmp_path / "config.toml").write_text('[retention]\nsize = "1KiB"\n' + hold)
    line = run(tmp_path, "ingest").stdout.splitlines()[1]
    assert re.fullmatch(
        r"retention: nothing removed; 1 batch held by case-17, and so the archive is [0-9,]+ bytes too large",
        line,
    )
    said = json.loads(run(tmp_path, "ingest", "--format", "jsonl").stdout)
    assert said | {"dropped_batches": 0, "dropped_files": 0, "dropped_events": 0, "held_batches": 1} == said


def test_a_configuration_that_makes_no_sense_stops_it(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (tmp_path / "config.toml").write_text('[retention]\nage = "soon"\n')
    done = run(tmp_path, "ingest")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert not (tmp_path / "archive").exists()


def test_the_configurations_of_the_guide() -> None:
    text = (ROOT / "docs" / "guide" / "retention.md").read_text()
    laptop, year, hold = (
        parse_config(block) for block in re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    )
    assert laptop.retention == Retention()
    assert year.retention.age == year.retention.journal_age == 371 * 86400
    assert year.retention.size is None
    assert isinstance(hold.hold[0], Hold)
    assert hold.hold[0].name == "case-17"
