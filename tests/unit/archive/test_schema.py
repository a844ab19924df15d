"""docs/format/archive.md and schema.py have the same columns, in the same order, of the same types."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pythonaudit.archive import schema
from pythonaudit.archive.manifest import TABLES, Archive
from tests.archives import move, table, write

DOCUMENT = (Path(__file__).parents[3] / "docs" / "format" / "archive.md").read_text()
TYPES = {
    "text": pa.string(),
    "int": pa.int64(),
    "int32": pa.int32(),
    "int16": pa.int16(),
    "bool": pa.bool_(),
    "moment": pa.timestamp("us", "UTC"),
    "list": pa.list_(pa.string()),
}


def rows(name: str) -> list[list[str]]:
    """The table of columns in the section of a table."""
    (section,) = re.findall(rf"^## \d+\. {name}\n(.*?)(?=^## )", DOCUMENT, re.MULTILINE | re.DOTALL)
    return re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", section, re.MULTILINE)


@pytest.mark.parametrize("name", schema.TABLES)
def test_columns(name: str) -> None:
    documented = [(column, TYPES[kind]) for column, kind, _ in rows(name)]
    assert documented == [(field.name, field.type) for field in schema.TABLES[name]]


def test_tables() -> None:
    assert tuple(schema.TABLES) == TABLES


@pytest.mark.parametrize("name", schema.TABLES)
def test_parts_are_as_documented(tmp_path: Path, name: str) -> None:
    write(tmp_path, 1)
    move(tmp_path)
    found = table(tmp_path, name)
    assert found.schema.equals(schema.TABLES[name])
    for column, _, null in rows(name):
        assert null != "–" or found[column].null_count == 0, column
    (entry,) = Archive(tmp_path).entries()
    (part,) = entry.of(name)
    metadata = pq.read_metadata(Archive(tmp_path).path(part))
    assert metadata.format_version == "2.6"
    assert b"ARROW:schema" not in (metadata.metadata or {})
    encodings = {code for i in range(metadata.num_columns) for code in metadata.row_group(0).column(i).encodings}
    assert encodings <= {"PLAIN", "RLE", "RLE_DICTIONARY", "DELTA_BINARY_PACKED"}
