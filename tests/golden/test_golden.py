"""Journals of every version that was ever released stay readable, and say what they said."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import orjson
import pytest

from tests.archives import archived_journal, lines
from tests.conformance.test_stranger import check
from tests.golden.regenerate import ARCHIVE, GOLDEN, lines_of

SEGMENTS = sorted(GOLDEN.glob("*.pyaudit"))


@pytest.mark.parametrize("path", SEGMENTS, ids=lambda path: path.stem)
def test_they_say_what_they_said(path: Path) -> None:
    assert lines_of(path.read_bytes()) == path.with_suffix(".jsonl").read_bytes()


@pytest.mark.parametrize("path", SEGMENTS, ids=lambda path: path.stem)
def test_a_stranger_agrees(path: Path) -> None:
    lines = path.with_suffix(".jsonl").read_bytes().splitlines()
    assert check(path.read_bytes()) == len(lines) > 0


@pytest.mark.parametrize("path", SEGMENTS, ids=lambda path: path.stem)
def test_every_line_is_one_object_for_everybody(path: Path) -> None:
    """orjson, DuckDB and jq read the same events from them."""
    lines = path.with_suffix(".jsonl")
    events = [orjson.loads(line)["event"] for line in lines.read_bytes().splitlines()]
    query = "SELECT json_extract_string(json, '$.event') FROM read_ndjson_objects(?)"
    assert [row[0] for row in duckdb.execute(query, [str(lines)]).fetchall()] == events
    if shutil.which("jq"):
        done = subprocess.run(["jq", "-c", ".event", lines], capture_output=True, check=True)
        assert [orjson.loads(line) for line in done.stdout.splitlines()] == events


def test_nothing_would_change() -> None:
    command = [sys.executable, "-m", "tests.golden.regenerate", "--check"]
    root = GOLDEN.parent.parent
    environment = {"PYTHONPATH": str(root / "src")}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


def test_the_archive_says_what_it_said() -> None:
    """By our reader, and by one that knows Parquet alone."""
    journal = archived_journal(ARCHIVE)
    said = ARCHIVE.with_suffix(".jsonl").read_bytes().splitlines()
    assert lines(journal) == said
    assert journal.archived is not None
    assert journal.archived.problems() == []
    assert sum(trail.events for trail in journal.processes()) == len(said) > 200
    events = [orjson.loads(line) for line in said]
    query = "SELECT concat_ws('/', process, slot, number), event, uid, host FROM read_parquet(?) ORDER BY ALL"
    found = duckdb.execute(query, [f"{ARCHIVE}/archive/events/**/*.parquet"]).fetchall()
    assert found == sorted((one["id"], one["event"], one["uid"], one.get("host")) for one in events)
