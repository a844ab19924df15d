"""What is archived reads as the journal does, byte for byte, however it is cut into batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from pythonaudit.archive.compact import compact
from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.journal.reader import Journal
from tests.archives import archived_journal, lines
from tests.golden.regenerate import GOLDEN
from tests.journals import SAMPLES


def save(directory: Path, data: bytes, sequence: int = 0) -> None:
    box = directory / "journal" / "u0"
    box.mkdir(parents=True, exist_ok=True)
    (box / f"{sequence:016x}-{'0' * 32}-{sequence:06}.pyaudit").write_bytes(data)


@pytest.mark.parametrize("name", [*SAMPLES, *(path.name for path in sorted(GOLDEN.glob("real-*.pyaudit")))])
def test_every_sample(tmp_path: Path, name: str) -> None:
    sample = SAMPLES.get(name)
    save(tmp_path, sample() if sample else (GOLDEN / name).read_bytes())
    journal = Journal(tmp_path)
    expected, survey = lines(journal), journal.survey()
    damage = journal.damage()
    archive = Archive(tmp_path)
    report = ingest(journal, archive)
    assert (report.segments, report.events) == (1, len(expected))
    assert archive.problems() == []
    read = archived_journal(tmp_path)
    assert lines(read) == expected
    assert read.survey().trails == survey.trails
    assert read.survey().counts == survey.counts
    kept = list((tmp_path / "damaged").glob("*"))
    assert (kept != []) == (damage != [])
    assert list((tmp_path / "journal").glob("*/*.pyaudit")) == []


@pytest.mark.parametrize("batch_bytes", [1, 1 << 30], ids=["many", "one"])
def test_all_together(tmp_path: Path, batch_bytes: int) -> None:
    for number, sample in enumerate(SAMPLES.values()):
        data = bytearray(sample())
        data[24:40] = bytes([number + 1]) * 16  # processes of their own
        save(tmp_path, bytes(data), number)
    expected = lines(Journal(tmp_path))
    last = [event.to_json() for event in Journal(tmp_path).tail(50)]
    assert len(expected) > 100
    archive = Archive(tmp_path)
    report = ingest(Journal(tmp_path), archive, batch_bytes=batch_bytes)
    assert report.batches == len(archive.entries()) == (len(SAMPLES) if batch_bytes == 1 else 1)
    assert lines(archived_journal(tmp_path)) == expected
    assert [event.to_json() for event in archived_journal(tmp_path).tail(50)] == last
    assert ingest(archived_journal(tmp_path), archive).segments == 0
    together = compact(archive)
    assert together == (len(SAMPLES) if batch_bytes == 1 else 0)
    assert len(archive.entries()) == 1
    assert lines(archived_journal(tmp_path)) == expected
