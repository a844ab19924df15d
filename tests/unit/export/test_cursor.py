"""What was acknowledged, and whether it is kept."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pythonaudit.errors import StoreError
from pythonaudit.export.cursor import Cursor
from pythonaudit.journal.decode import Event
from tests.archives import archived_journal, write


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    directory = tmp_path_factory.mktemp("store")
    for process in (1, 2):
        for sequence in (0, 1):
            write(directory, process, sequence, events=5)
    return list(archived_journal(directory).events())


def unsent(cursor: Cursor, events: list[Event]) -> list[str]:
    """Of all events, those that were not acknowledged."""
    found = []
    for decoder in {id(event.decoder): event.decoder for event in events}.values():
        header = decoder.segment.header
        key = decoder.process.id, header.sequence, decoder.process.uid
        if cursor.has(key):
            continue
        mask = cursor.unsent(key, decoder.segment.events)
        mine = [event for event in events if event.decoder is decoder]
        found += [event.id for event in mine if mask is None or mask[event.row]]
    return sorted(found)


@given(st.lists(st.tuples(st.sets(st.integers(0, 19)), st.booleans())))
def test_what_was_acknowledged_is_not_asked_for_again(
    events: list[Event], steps: list[tuple[set[int], bool]]
) -> None:
    with closing(Cursor(None)) as cursor:
        done: set[str] = set()
        for chosen, _ in steps:
            cursor.acknowledge([events[at] for at in sorted(chosen)])
            done |= {events[at].id for at in chosen}
        cursor.save()
        assert unsent(cursor, events) == sorted({event.id for event in events} - done)


def test_it_is_there_again(tmp_path: Path, events: list[Event]) -> None:
    path = tmp_path / "export" / "one.cursor"
    keys = [(events[0].process.id, sequence, events[0].process.uid) for sequence in (0, 1)]
    with closing(Cursor(path, "file:/somewhere")) as cursor:
        cursor.acknowledge(events[:3])
        cursor.save()
        cursor.acknowledge(events[3:7], finished=[keys[0]])
        cursor.counts["sent"] += 7
        cursor.save()
        cursor.acknowledge(events[7:9])  # and is lost
    with closing(Cursor(path, "file:/somewhere")) as cursor:
        assert cursor.counts == {"sent": 7}
        assert cursor.has(keys[0]) and not cursor.has(keys[1])
        assert unsent(cursor, events) == sorted(event.id for event in events[7:])
        cursor.retain(lambda key: key != keys[0])
        cursor.save()
    with closing(Cursor(path)) as cursor:
        assert not cursor.has(keys[0])
    assert path.stat().st_mode & 0o77 == 0


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (b"not a database, and longer than a header of one: " + bytes(100), "not a database"),
        (None, "spans that make no sense"),
    ],
)
def test_what_is_damaged_is_refused(tmp_path: Path, damage: bytes | None, said: str) -> None:
    path = tmp_path / "one.cursor"
    if damage:
        path.write_bytes(damage)
    else:
        Cursor(path).close()
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("INSERT INTO segments VALUES ('00', 0, 0, '[1')")
    with pytest.raises(StoreError, match=f"one.cursor: .*{said}") as caught:
        Cursor(path)
    assert caught.value.hint == "remove it, and everything is sent once more"


def test_one_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.cursor"
    Cursor(path).close()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE about SET value = '2' WHERE name = 'format'")
    with pytest.raises(StoreError, match="later version"):
        Cursor(path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "export").write_text("a file")
    with pytest.raises(StoreError, match="export"):
        Cursor(tmp_path / "export" / "one.cursor")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(tmp_path)]).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_costs_no_more_than_a_repetition(small_disk: Path, events: list[Event]) -> None:
    path, filler = small_disk / "one.cursor", small_disk / "filler"
    with closing(Cursor(path)) as cursor:
        cursor.acknowledge(events[:3])
        cursor.save()
        with pytest.raises(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        with pytest.raises(StoreError, match="disk"):
            for end in range(4, 20):  # there is room in what it has already
                cursor.acknowledge(events[:end], [("f" * 32, number + 1000 * end, 0) for number in range(1000)])
                cursor.save()
        filler.unlink()
        cursor.save()
        assert unsent(cursor, events) == unsent_of(path, cursor, events)


def unsent_of(path: Path, cursor: Cursor, events: list[Event]) -> list[str]:
    """The same as the file has it."""
    expected = unsent(cursor, events)
    cursor.close()
    with closing(Cursor(path)) as again:
        assert unsent(again, events) == expected != []
        return expected
