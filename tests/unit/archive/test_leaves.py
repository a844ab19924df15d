"""The hashes of events are the same in the journal, in the archive, and after compaction."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from pythonaudit.archive import leaves
from pythonaudit.archive.compact import compact
from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.segments import build_row
from pythonaudit.journal.chunks import parse_header
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.reader import Journal
from pythonaudit.journal.segment import parse_segment
from tests.archives import table

GOLDEN = Path(__file__).parents[2] / "golden"
SEGMENTS = sorted(GOLDEN.glob("*.pyaudit"))


def content(path: Path) -> bytes:
    """The segment, of a process of its own."""
    data = path.read_bytes()
    return data[:24] + sha256(path.name.encode()).digest()[:16] + data[40:]


def decoded(path: Path) -> SegmentDecoder:
    return SegmentDecoder(parse_segment(content(path)), 0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All golden segments, archived and compacted."""
    directory = tmp_path_factory.mktemp("store")
    box = directory / "journal" / "u0"
    box.mkdir(parents=True)
    for path in SEGMENTS:
        header = parse_header(content(path))
        name = f"{header.begin_realtime:016x}-{header.process.hex()}-{header.sequence:06d}.pyaudit"
        (box / name).write_bytes(content(path))
    ingest(Journal(directory), Archive(directory), batch_bytes=1)
    assert compact(Archive(directory)) > 2
    return directory


@pytest.mark.parametrize("path", SEGMENTS, ids=lambda path: path.stem)
def test_archive_and_journal_agree(store: Path, path: Path) -> None:
    decoder = decoded(path)
    known = leaves.of_segment(decoder)
    assert len(known.hashes) == len(decoder.segment.events)
    events, stacks = table(store), table(store, "stacks")
    mine = events.filter(pc.equal(events["process"], decoder.process.id))
    if not len(known.hashes):
        assert not len(mine)
        return
    found = leaves.of_table(mine.select(leaves.COLUMNS), leaves.stacks_of(stacks)).sorted()
    assert found.hashes == known.hashes
    assert found.runs() == known.runs()
    rows = [row for row in table(store, "segments").to_pylist() if row["process"] == decoder.process.id]
    damage = [one._replace(path=None) for one in decoder.segment.damage]
    row = build_row(decoder, rows[0]["file"], "", damage)
    assert leaves.hash_row(row) == leaves.hash_row(rows[0])
    assert leaves.hash_identity(row) == leaves.hash_identity(rows[0])


def test_an_event_by_hand() -> None:
    """Section 3 of docs/format/checkpoint.md, written out for one event."""
    decoder = decoded(GOLDEN / "plain.pyaudit")
    [event] = decoder.events(np.arange(1))
    assert event.thread.slot == leaves.of_segment(decoder).slot[0] and event.number == 0
    stack = bytes(32)
    for path, line, named in reversed(event.stack):
        assert path and named
        file, function = path.encode(), named.encode()
        lengths = [len(text).to_bytes(4, "little") for text in (file, function)]
        data = stack + (line or 0).to_bytes(4, "little") + lengths[0] + file + lengths[1] + function
        stack = sha256(data).digest()
    said = (event.event, event.source, event.args.decode(), event.thread.name, None, None)
    texts = [text.encode() if text is not None else None for text in said]
    data = b"".join(
        number.to_bytes(size, "little")
        for number, size in (
            (event.time_ns, 8),
            (event.number, 8),
            (event.thread.slot, 4),
            (event.tid, 4),
            (event.interpreter, 4),
            (1, 4),
            *((len(text) if text is not None else 0xFFFFFFFF, 4) for text in texts),
        )
    )
    data += stack + b"".join(text or b"" for text in texts)
    assert leaves.of_segment(decoder).hashes[0] == sha256(b"\0" + data).digest()


def test_runs_have_gaps_and_slots() -> None:
    found = leaves.Leaves(np.array([0, 0, 0, 2, 2]), np.array([5, 6, 9, 0, 1], np.uint64), [bytes(32)] * 5)
    assert found.runs() == [(0, 5, 2), (0, 9, 1), (2, 0, 2)]


def test_what_is_known_is_left_out() -> None:
    decoder = decoded(GOLDEN / "threads.pyaudit")
    every = leaves.of_segment(decoder)
    slot, first, count = every.runs()[0]
    rest = leaves.of_segment(decoder, {slot: [(first, first + count)]})
    assert rest.hashes == every.hashes[count:]
    middle = leaves.of_segment(decoder, {slot: [(0, first + 1), (first + 2, (1 << 64) - 1)]})
    assert middle.hashes == [every.hashes[1], *every.hashes[count:]]
