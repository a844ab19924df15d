"""Journals and archives that several tests need, and what they say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pythonaudit.archive.ingest import Report, ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.reader import ArchivedSegments
from pythonaudit.journal import layout
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal
from tests.journal_writer import BEGIN_NS, SegmentWriter

DAY_NS = 86_400_000_000_000


def archived_journal(directory: Path) -> Journal:
    """The journal of a directory together with its archive."""
    return Journal(directory, archived=ArchivedSegments(Archive(directory)))


def move(directory: Path, batch_bytes: int = 64 << 20) -> Report:
    """Ingests what is closed."""
    return ingest(Journal(directory), Archive(directory), batch_bytes=batch_bytes)


def lines(journal: Journal, wanted: EventFilter | None = None) -> list[bytes]:
    """All events as JSON."""
    return [event.to_json() for event in journal.events(wanted)]


def table(directory: Path, name: str = "events") -> pa.Table:
    """What a reader of globs sees."""
    files = sorted((directory / "archive" / name).rglob("*.parquet"))
    tables = [pq.read_table(file, partitioning=None) for file in files]
    return pa.concat_tables(tables)


def segments(directory: Path) -> list[Path]:
    """The files of the journal."""
    return sorted((directory / "journal").rglob("*.pyaudit"))


def files(directory: Path) -> Iterator[str]:
    """The files of the archive, below it."""
    root = directory / "archive"
    return (str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file())


def process_of(number: int) -> bytes:
    """The id of a process of a test."""
    return number.to_bytes(16, "big")


def write(
    directory: Path, process: int, sequence: int = 0, events: int = 3, number: int | None = None, **options: object
) -> Path:
    """A segment of some events, by default of a process of another boot that ended in order.

    `number` is that of its first event; by default, segments before have as many.
    """
    state = options.pop("state", layout.STATE_CLEAN_END)
    begin_ns = options.pop("begin_ns", BEGIN_NS + process * 1_000_000 + sequence * 1_000)
    writer = SegmentWriter(process=process_of(process), sequence=sequence, begin_ns=begin_ns, **options)  # type: ignore[arg-type]
    thread = writer.thread(number=sequence * events if number is None else number)
    for number in range(events):
        writer.ticks += 10
        thread.event("open", [f"/srv/{process}/{sequence}/{number}", "r", 0], stack=[("app.py", number + 1, "f")])
    return writer.save(directory, state=state)


def alive() -> dict[str, object]:
    """What the header of a process says that runs: this one."""
    status = Path("/proc/self/stat").read_text()
    return {
        "boot": bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")),
        "pid": os.getpid(),
        "pid_start": int(status.rpartition(")")[2].split()[19]),
        "pid_namespace": os.stat("/proc/self/ns/pid").st_ino,
    }
