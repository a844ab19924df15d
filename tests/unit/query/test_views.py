"""docs/reference/views.md says of each view what columns it has, and of what type."""

from __future__ import annotations

import re
from pathlib import Path

from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.journal.reader import Journal
from pythonaudit.query.connection import VIEWS
from tests import stores
from tests.journal_writer import SegmentWriter

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "reference" / "views.md"


def documented() -> dict[str, list[tuple[str, str]]]:
    """Columns and types of each view."""
    sections = re.split(r"^## (\w+)$", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]
    tables = zip(sections[::2], sections[1::2], strict=True)
    return {view: re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE) for view, text in tables}


def test_the_columns_are_those_of_the_document(tmp_path: Path) -> None:
    SegmentWriter().save(tmp_path)
    archive = Archive(tmp_path)
    ingest(Journal(tmp_path), archive)
    with stores.open_views(tmp_path) as connection:
        columns = {view: connection.execute(f"DESCRIBE {view}").fetchall() for view in VIEWS}
    assert list(documented()) == list(VIEWS)
    for view, expected in documented().items():
        assert expected == [(name, kind) for name, kind, *_ in columns[view]]
