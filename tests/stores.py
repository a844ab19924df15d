"""A directory with events, as a journal, as an archive, or half of it as each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.journal.reader import Journal
from pythonaudit.query.connection import Connection, connect
from tests.archives import archived_journal
from tests.journal_writer import SegmentWriter

KINDS = ("journal", "archive", "both")


def save(directory: Path, writers: Iterable[SegmentWriter], kind: str = "journal") -> Path:
    """Saves segments; with `archive` all of them are archived, with `both` the first half."""
    segments = list(writers)
    half = len(segments) if kind == "archive" else len(segments) // 2 if kind == "both" else 0
    for writer in segments[:half]:
        writer.save(directory)
    if half:
        ingest(Journal(directory), Archive(directory))
    for writer in segments[half:]:
        writer.save(directory)
    return directory


def open_views(directory: Path) -> Connection:
    """The views over both."""
    return connect(archived_journal(directory))
