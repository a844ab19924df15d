"""What retention takes of the journal, and of what was damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pythonaudit.agent.config import Hold
from pythonaudit.journal import layout
from pythonaudit.journal.reader import Journal
from tests.archives import DAY_NS, alive, archived_journal, lines, move, process_of, segments
from tests.retained import DAY, NOW_NS, keep, limits, put, sealed
from tests.seals import check_sealed, records


def age_of(path: Path, days: float, now_ns: int = NOW_NS) -> Path:
    when = int(now_ns - days * DAY_NS)
    os.utime(path, ns=(when, when))
    return path


def garbage(directory: Path, process: int, days: float) -> Path:
    path = put(directory, process, int(days))
    path.write_bytes(b"no segment" * 1000)
    return age_of(path, days)


def test_what_cannot_be_archived_goes_in_time(tmp_path: Path) -> None:
    old, young = garbage(tmp_path, 1, 40), garbage(tmp_path, 2, 5)
    cut = age_of(put(tmp_path, 3, 40), 40)
    cut.write_bytes(cut.read_bytes()[:100])
    age_of(cut, 40)
    later = put(tmp_path, 4, 40)
    later.write_bytes(later.read_bytes()[:8] + b"\x09" + later.read_bytes()[9:])
    age_of(later, 40)
    lives = age_of(put(tmp_path, 5, 40, state=layout.STATE_OPEN, **alive()), 40)
    linked = garbage(tmp_path, 6, 40)
    os.link(linked, tmp_path / "second name")
    elsewhere = age_of(put(tmp_path, 7, 40).rename(tmp_path / "elsewhere"), 40)
    link = cut.with_name(cut.name.replace("-000000", "-000009"))
    link.symlink_to(elsewhere)
    move(tmp_path)
    report = keep(tmp_path, limits(journal_age=30 * DAY))
    assert (report.files, report.file_bytes) == (2, 10_100)
    assert set(segments(tmp_path)) == {young, later, lives, linked, link}
    assert not old.exists() and not cut.exists() and elsewhere.exists()
    assert keep(tmp_path, limits(journal_age=30 * DAY)).files == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_boxes_of_others_are_left_alone(tmp_path: Path) -> None:
    path = garbage(tmp_path, 1, 40)
    box = path.parent.rename(path.parent.with_name("u54321"))
    for one in (box, box / path.name):
        os.chown(one, 54321, 54321)
    put(tmp_path, 2, 1)
    assert keep(tmp_path, limits(journal_age=DAY)).files == 0
    assert (box / path.name).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_what_is_in_boxes_of_others_does_not_come_back(tmp_path: Path) -> None:
    path = put(tmp_path, 1, 40)
    box = path.parent.rename(path.parent.with_name("u54321"))
    for one in (box, box / path.name):
        os.chown(one, 54321, 54321)
    assert move(tmp_path).segments == 1
    assert keep(tmp_path, limits(age=DAY)).batches == 1
    assert (box / path.name).exists()
    assert lines(archived_journal(tmp_path)) == []
    assert move(tmp_path).segments == 0


def test_what_was_damaged_goes_in_time(tmp_path: Path) -> None:
    path = put(tmp_path, 1, 40, events=100)
    data = bytearray(path.read_bytes())
    data[-4096:] = b"\xff" * 4096
    path.write_bytes(data)
    age_of(path, 40)
    move(tmp_path)
    kept = tmp_path / "damaged" / path.name
    (tmp_path / "damaged" / "notes.txt").touch()
    age_of(tmp_path / "damaged" / "notes.txt", 400)
    assert kept.exists()
    assert keep(tmp_path, limits(journal_age=50 * DAY)).files == 0
    assert keep(tmp_path, limits(journal_age=DAY), Hold("a", "b", host="web-1")).files == 0
    report = keep(tmp_path, limits(journal_age=DAY), Hold("a", "b", host="db-1"))
    assert (report.files, report.batches, kept.exists()) == (1, 0, False)
    assert os.listdir(tmp_path / "damaged") == ["notes.txt"]
    assert 0 < len(lines(archived_journal(tmp_path))) < 100


def test_what_nobody_can_tell_is_held(tmp_path: Path) -> None:
    garbage(tmp_path, 1, 40)
    for hold in (Hold("a", "b", run="x"), Hold("a", "b", host="x", until_ns=NOW_NS), Hold("a", "b")):
        assert keep(tmp_path, limits(journal_age=DAY), hold).files == 0
    assert keep(tmp_path, limits(journal_age=DAY), Hold("a", "b", until_ns=NOW_NS - 60 * DAY_NS)).files == 1


def test_files_that_go_are_told(tmp_path: Path) -> None:
    sealer = sealed(tmp_path)
    path = put(tmp_path, 1, 40, state=layout.STATE_OPEN, **alive())
    journal = Journal(tmp_path)
    decoder = journal.load(journal.heads()[0])
    assert decoder and sealer.seal([decoder]) == 3
    path.write_bytes(b"no segment")
    age_of(path, 40)
    report = keep(tmp_path, limits(journal_age=DAY), sealer=sealer)
    assert (report.files, report.lost) == (1, 3)
    (dropped,) = records(tmp_path, "dropped")
    assert (dropped["batches"], dropped["rule"]) == ([], "journal_age")
    (file,) = dropped["files"]
    assert file["path"] == f"journal/{path.parent.name}/{path.name}"
    assert (file["bytes"], len(file["sha256"])) == (10, 64)
    (gone,) = records(tmp_path, "gone")
    assert (gone["process"], gone["sequence"], gone["events"], gone["reason"]) == (
        process_of(1).hex(),
        0,
        3,
        "retention",
    )
    assert check_sealed(tmp_path) == 0
