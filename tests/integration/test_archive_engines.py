"""The examples of docs/format/archive.md run as they stand there, with no help from us."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pythonaudit.archive.compact import compact
from pythonaudit.archive.manifest import Archive
from pythonaudit.journal.reader import Journal
from tests import journals
from tests.archives import move, table, write
from tests.journal_writer import SegmentWriter

DOCUMENT = (Path(__file__).parents[2] / "docs" / "format" / "archive.md").read_text()
BLOCKS = re.findall(r"```sql\n(.*?)```", DOCUMENT, re.DOTALL)
STACKS, EVENTS, _CLICKHOUSE, PARTS = BLOCKS


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of several batches; and where the examples run."""
    writer = SegmentWriter(process=bytes(16))
    writer.thread().event("open", ["/etc/passwd", "r", 0], stack=journals.MAIN)
    writer.save(tmp_path)
    journals.arguments().save(tmp_path)
    for process in (1, 2):
        write(tmp_path, process)
    move(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_events(directory: Path) -> None:
    assert [row[1:] for row in duckdb.sql(EVENTS).fetchall()] == [("open", "/etc/passwd", "/srv/app.py", 12)]


def test_a_stack_in_standard_sql(directory: Path) -> None:
    connection = duckdb.connect()
    for name in ("events", "stacks"):
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('archive/{name}/**/*.parquet')")
    found = connection.execute(STACKS).fetchall()
    assert [row[3:] for row in found] == [(0, "/srv/app.py", 12, "load"), (1, "/srv/app.py", 30, "<module>")]


def test_parts_that_count(directory: Path) -> None:
    files = {path for (path,) in duckdb.sql(PARTS).fetchall()}
    assert files == {
        str(path.relative_to(directory)) for path in (directory / "archive/events").rglob("*.parquet")
    }
    assert len(files) == 4
    compact(Archive(directory))
    assert len(duckdb.sql(PARTS).fetchall()) == 1


@pytest.mark.parametrize("hive", ["true, hive_types_autocast = false", "false"])
def test_all_columns_of_all_tables(directory: Path, hive: str) -> None:
    """Every value comes out as we put it in."""
    for name in ("events", "stacks", "segments"):
        query = f"SELECT * FROM read_parquet('archive/{name}/**/*.parquet', hive_partitioning = {hive})"
        found, expected = duckdb.sql(query).to_arrow_table(), table(directory, name)
        assert found.num_rows == expected.num_rows > 0
        for field in expected.schema:
            kind = pa.int64() if pa.types.is_timestamp(field.type) else field.type
            columns = (one[field.name].cast(kind) for one in (found, expected))
            values = [sorted(map(repr, column.to_pylist())) for column in columns]
            assert values[0] == values[1], field.name


def test_arguments_are_json_for_everybody(directory: Path) -> None:
    query = "SELECT count(*), count(json_extract(args, '$[0]')) FROM read_parquet('archive/events/**/*.parquet')"
    rows = duckdb.sql(query).fetchall()
    assert rows[0][0] == rows[0][1] > 80
    assert Journal(directory).heads() == []
