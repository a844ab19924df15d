"""Archives of several days, and what retention does to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pythonaudit.agent.config import Hold, Retention
from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.retention import Report, apply
from pythonaudit.archive.sealer import Sealer
from pythonaudit.journal.reader import Journal
from tests.archives import DAY_NS, archived_journal, lines, move, write
from tests.journal_writer import BEGIN_NS
from tests.seals import begin_seal

DAY = 86_400.0
NOW_NS = BEGIN_NS + 3_600_000_000_000
FOREVER = Retention(age=None, size=None, journal_age=None)


def put(directory: Path, process: int, age: int, sequence: int = 0, **options: Any) -> Path:
    """A segment of so many days ago; of a host and a run, where these are given."""
    attributes = {name: options.pop(name) for name in ("host", "run") if name in options}
    if attributes:
        options["attributes"] = {"python": "3.11.7", "exe": "/usr/bin/python3", "argv": ["app.py"]} | attributes
    begin_ns = BEGIN_NS - age * DAY_NS + process * 1_000_000 + sequence * 1_000
    return write(directory, process, sequence, begin_ns=begin_ns, **options)


def fill(directory: Path, *ages: int, **options: Any) -> None:
    """One batch for each age, of processes 1, 2, …."""
    for process, age in enumerate(ages, 1):
        put(directory, process, age, **options)
        move(directory)


def keep(
    directory: Path, limits: Retention, *holds: Hold, sealer: Sealer | None = None, now_ns: int = NOW_NS
) -> Report:
    return apply(Archive(directory), Journal(directory), limits, holds, sealer, now_ns)


def limits(**changes: Any) -> Retention:
    return Retention(**({"age": None, "size": None, "journal_age": None} | changes))


def left(directory: Path) -> set[int]:
    """The processes of which something can be read."""
    said = [json.loads(line)["process"] for line in lines(archived_journal(directory))]
    return {int(process, 16) for process in said}


def sealed(directory: Path) -> Sealer:
    (directory / "journal").mkdir()
    return begin_seal(directory)


def fill_sealed(directory: Path, sealer: Sealer, *ages: int) -> None:
    for process, age in enumerate(ages, 1):
        put(directory, process, age)
        ingest(Journal(directory), Archive(directory), sealer=sealer)
