"""Which files are taken for journals: nothing that somebody laid there as a trap."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pythonaudit.errors import StoreError
from pythonaudit.journal import layout
from pythonaudit.journal.files import runtime_directories
from pythonaudit.journal.reader import Journal
from tests.journal_writer import SegmentWriter

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A journal of one event; the tests add traps to it."""
    writer = SegmentWriter()
    writer.thread().event("open", ["/good"])
    return writer.save(tmp_path)


def read(directory: Path) -> tuple[int, dict[str, str]]:
    """Number of events, and what was refused, by file name."""
    journal = Journal(directory)
    count = sum(1 for _ in journal.events())
    return count, {one.path.name: one.reason for one in journal.damage() if one.path}


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"nothing is recorded in {tmp_path}"):
        Journal(tmp_path).events()


def test_journal_that_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("")
    with pytest.raises(StoreError, match=r"journal: Not a directory"):
        Journal(tmp_path).events()


def test_empty_journal(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    assert read(tmp_path) == (0, {})


def test_other_names_are_left_alone(good: Path, tmp_path: Path) -> None:
    (good.parent / "usage").write_bytes(bytes(16))
    (good.parent / "notes.txt").write_text("mine")
    (tmp_path / "journal" / "lost+found").mkdir()
    assert read(tmp_path) == (1, {})


def test_symbolic_link_to_a_segment(good: Path, tmp_path: Path) -> None:
    (good.parent / "link.pyaudit").symlink_to(good)
    assert read(tmp_path) == (1, {"link.pyaudit": "refused: a symbolic link"})


def test_hard_link(good: Path, tmp_path: Path) -> None:
    writer = SegmentWriter(process=b"\7" * 16)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(writer.build())
    (good.parent / "hard.pyaudit").hardlink_to(elsewhere)
    assert read(tmp_path) == (1, {"hard.pyaudit": "refused: it has other hard links"})


def test_fifo_and_socket_do_not_block(good: Path, tmp_path: Path) -> None:
    os.mkfifo(good.parent / "fifo.pyaudit")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(good.parent / "s.pyaudit"))
        count, refused = read(tmp_path)
    assert count == 1
    assert refused["fifo.pyaudit"] == "refused: not a regular file"
    assert refused["s.pyaudit"].startswith("refused: ")


def test_directory_with_the_name_of_a_segment(good: Path, tmp_path: Path) -> None:
    (good.parent / "d.pyaudit").mkdir()
    assert read(tmp_path) == (1, {"d.pyaudit": "refused: not a regular file"})


def test_box_that_is_a_link(good: Path, tmp_path: Path) -> None:
    (tmp_path / "journal" / "u99999").symlink_to(good.parent, target_is_directory=True)
    count, refused = read(tmp_path)
    assert count == 1
    assert refused["u99999"].startswith("no box: ")


@ROOT_ONLY
def test_file_of_another_user_in_a_box(good: Path, tmp_path: Path) -> None:
    foreign = good.parent / "foreign.pyaudit"
    foreign.write_bytes(good.read_bytes())
    os.chown(foreign, 12345, 12345)
    assert read(tmp_path) == (1, {"foreign.pyaudit": "refused: owned by 12345, in a box of 0"})


@ROOT_ONLY
def test_the_owner_is_believed_and_not_the_header(tmp_path: Path) -> None:
    writer = SegmentWriter(uid=0)
    writer.thread().event("open", ["/x"])
    path = writer.save(tmp_path)
    box = path.parent.rename(tmp_path / "journal" / "u12345")
    for place in (box, box / path.name):
        os.chown(place, 12345, 12345)
    (event,) = Journal(tmp_path).events()
    assert (event.process.uid, event.process.user) == (12345, None)
    assert b'"uid":12345' in event.to_json()


@pytest.mark.parametrize("content", [b"", bytes(4096), bytes(131072), b"\0" * 24 + b"x" * 100 + bytes(4000)])
def test_segment_that_was_never_begun_is_no_damage(content: bytes, good: Path, tmp_path: Path) -> None:
    (good.parent / "begun.pyaudit").write_bytes(content)
    assert read(tmp_path) == (1, {})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello", "no journal segment: 5 bytes are less than a header"),
        (b"x" * 5000, "no journal segment: it does not begin with PYAUDIT"),
    ],
)
def test_file_that_is_no_segment(content: bytes, reason: str, good: Path, tmp_path: Path) -> None:
    (good.parent / "bad.pyaudit").write_bytes(content)
    assert read(tmp_path) == (1, {"bad.pyaudit": reason})


def test_file_longer_than_a_segment_is_read_to_its_limit(good: Path, tmp_path: Path) -> None:
    with good.open("r+b") as file:
        file.truncate(1 << 40)
    reason = "the file is longer than a segment can be"
    assert read(tmp_path) == (1, {good.name: reason})
    journal = Journal(tmp_path)
    journal.survey()
    assert journal.damage()[0].offset == layout.SEGMENT_MAX


def test_file_that_is_removed_while_it_is_read(good: Path, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    events = journal.events()
    good.unlink()
    assert list(events) == []
    assert journal.damage() == []


def test_more_directories_are_read_along(good: Path, tmp_path: Path) -> None:
    other = tmp_path / "runtime"
    writer = SegmentWriter(process=b"\7" * 16, begin_ns=1)
    writer.thread().event("open", ["/other"])
    writer.save(other)
    events = Journal(tmp_path, [other, tmp_path / "absent"]).events()
    assert [event.fields["path"] for event in events] == ["/other", "/good"]


def test_runtime_directories() -> None:
    assert runtime_directories(None, 7) == [Path("/run/user/7/pythonaudit")]
    assert runtime_directories("/run/user/7", 7) == [Path("/run/user/7/pythonaudit")]
    assert runtime_directories("/x", 7) == [Path("/x/pythonaudit"), Path("/run/user/7/pythonaudit")]
