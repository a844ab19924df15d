"""Which archived segments are read for events of some names."""

from __future__ import annotations

from pathlib import Path

import pytest

from pythonaudit.archive.holding import find_segments
from pythonaudit.archive.manifest import Archive
from pythonaudit.journal import layout
from pythonaudit.journal.filters import EventFilter
from tests.archives import archived_journal, move
from tests.journal_writer import SegmentWriter

_NAMES = [
    ["open", "import", "os.fork"],
    ["open", "import"],
    ["shop.order.paid", "User logged in: username=a", "User logged in: username=b"],
    [],
]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Four segments of one process, each with other events."""
    for sequence, names in enumerate(_NAMES):
        writer = SegmentWriter(sequence=sequence)
        thread = writer.thread()
        for name in names:
            thread.event(name, [], source=layout.SOURCE_APPLICATION, inline=" " in name)
        writer.save(tmp_path)
    move(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("globs", "expected"),
    [
        (["os.fork"], {0}),
        (["open"], {0, 1}),
        (["os.*"], {0}),
        (["os.fork", "shop.order.paid"], {0, 2}),
        (["User logged in*"], {2}),
        (["User logged in: username=b"], {2}),
        (["*"], {0, 1, 2}),
        (["subprocess.Popen"], set()),
        (["zzz"], set()),
    ],
)
def test_what_is_read(store: Path, globs: list[str], expected: set[int]) -> None:
    archive = Archive(store)
    (entry,) = archive.entries()
    found = find_segments(archive, entry, globs)
    assert found is not None
    assert {sequence for _, sequence, _ in found} == expected
    journal = archived_journal(store)
    wanted = EventFilter(names=tuple(globs))
    events = [event.event for event in journal.events(wanted)]
    assert len(events) == sum(wanted._wants_name(name, "") for names in _NAMES for name in names)


def test_a_part_that_is_no_parquet(store: Path) -> None:
    archive = Archive(store)
    (entry,) = archive.entries()
    (part,) = entry.of("events")
    archive.path(part).write_bytes(b"nothing")
    assert find_segments(archive, entry, ["open"]) is None
    journal = archived_journal(store)
    assert list(journal.events(EventFilter(names=("open",)))) == []
    assert journal.archived is not None
    assert journal.archived.problems()
