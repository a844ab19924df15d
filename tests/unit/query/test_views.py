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


def test_the_columns_are_those_of_the_document(tmp_path: Path) -> None:
    SegmentWriter().save(tmp_path)
    archive = Archive(tmp_path)
    ingest(Journal(tmp_path), archive)
    with stores.open_views(tmp_path) as connection:
        columns = {view: connection.execute(f"DESCRIBE {view}").fetchall() for view in VIEWS}
    sections = re.split(r"^## (\w+)$", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]
    said = dict(zip(sections[::2], sections[1::2], strict=True))
    assert list(said) == list(VIEWS)
    for view, text in said.items():
        documented = re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE)
        assert documented == [(name, kind) for name, kind, *_ in columns[view]]
