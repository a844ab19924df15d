"""Every byte of a sealed store, changed (with SOAK=2 every bit): `verify` finds it, or the position is on the list.

The list is that of docs/guide/verify.md: what in a segment of the journal means nothing, or is sealed only with the
archive's row of it. Log, checkpoint, manifest and parts have none. What is looked at is what `verify` looks at, of
the changed file alone; that it comes to a verdict is seen on samples.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from struct import calcsize

import pytest

from pythonaudit.archive.evidence import SegmentTask, Wanted, check_segment, find_problem
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.verify import judge_manifest
from pythonaudit.errors import FormatError
from pythonaudit.integrity.account import SealedPart
from pythonaudit.integrity.log import Log, read_lines
from pythonaudit.integrity.verify import Checked, Checker
from pythonaudit.journal import layout
from pythonaudit.journal.chunks import Chunk, parse_header, walk_chunks
from pythonaudit.journal.reader import Journal
from pythonaudit.journal.segment import committed
from tests import tampered
from tests.archives import process_of, segments

#: RFC 1952, section 2.3: flags, time, effort, system.
GZIP_HEADER, GZIP_TRAILER = 10, 8
#: Fields of a segment's header that are sealed while it is in the journal: whose it is.
SEALED_FIELDS = {
    *("magic", "format_major", "incompatible", "process", "parent", "boot", "sequence", "pid", "ppid"),
    *("pid_start", "pid_namespace", "way", "begin_realtime"),
}
SEALED_ATTRIBUTES = {"python", "exe", "argv", "cwd", "host", "run"}


@pytest.fixture(scope="module")
def store() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        directory = Path(place, "store")
        directory.mkdir()
        tampered.build(directory)
        yield directory


@pytest.fixture(scope="module")
def log(store: Path) -> Checked:
    checker = Checker(Log(store).read_checkpoint(), tampered.first_keys(store))
    for number, line in enumerate(Log(store).lines()):
        checker.add(number, line)
    return checker.finish()


def test_nothing_is_found_where_nothing_was_changed(store: Path) -> None:
    for anchors in (tampered.first_keys(store), tampered.newest_checkpoint(store)):
        report = tampered.check(store, anchors)
        assert {verdict.verdict for verdict in report.verdicts} == {"intact"}
        assert (report.unsealed, report.unsealed_segments, report.uncovered) == (1, 1, 0)
    assert {verdict.verdict for verdict in tampered.check(store).verdicts} == {"self-consistent"}


def test_log(store: Path) -> None:
    contents, note, keys = tampered.read_log(store), Log(store).read_checkpoint(), tampered.first_keys(store)
    assert len(contents) > 2
    assert tampered.check_log(contents, note, keys) == []
    unseen = [
        (first, at, bit)
        for first, content in contents.items()
        for at, bit in tampered.flips(len(content))
        if not tampered.check_log(contents | {first: tampered.flipped(content, at, bit)}, note, keys)
    ]
    assert unseen == []


def test_checkpoint(store: Path) -> None:
    contents, note, keys = (
        tampered.read_log(store),
        (store / "seal" / "checkpoint").read_bytes(),
        tampered.first_keys(store),
    )
    unseen = []
    for at in range(len(note)):
        for bit in range(8):
            changed = tampered.flipped(note, at, 1 << bit).decode("utf-8", "replace")
            if not tampered.check_log(contents, changed, keys):
                unseen.append((at, bit))
    assert unseen == []


def test_manifest(store: Path, log: Checked) -> None:
    entries, counting = Archive(store).read_manifest(), log.account.counting()
    assert entries.keys() == counting and list(judge_manifest(log, entries, entries, counting)) == []
    for name, entry in entries.items():
        assert isinstance(entry, bytes)
        unseen = []
        for at in range(len(entry)):
            for bit in range(8):
                changed = entries | {name: tampered.flipped(entry, at, 1 << bit)}
                if not list(judge_manifest(log, changed, changed, counting)):
                    unseen.append((at, bit))
        assert unseen == []


def test_parts(store: Path, log: Checked) -> None:
    archive = Archive(store)
    for name in log.account.counting():
        for part in log.account.batches[name].parts:
            assert find_problem(archive, part) is None
            assert unseen_flips(archive, part) == []


def unseen_flips(archive: Archive, part: SealedPart) -> list[tuple[int, int]]:
    path = archive.root / part.path
    content = path.read_bytes()
    unseen = []
    with open(path, "r+b", buffering=0) as file:
        for at, bit in tampered.flips(len(content)):
            file.seek(at)
            file.write(bytes([content[at] ^ bit]))
            if find_problem(archive, part) is None:
                unseen.append((at, bit))
            file.seek(at)
            file.write(content[at : at + 1])
    return unseen


def test_journal(store: Path, log: Checked) -> None:
    """The segment that is still written."""
    [path] = [one for one in segments(store) if one.name.endswith("1.pyaudit")]
    segment = log.account.captures[process_of(5).hex(), path.stat().st_uid].segments[1]
    wanted = Wanted(1, tuple(segment.events), segment.count)

    def is_seen() -> bool:
        heads = [head for head in Journal(store).heads() if head.file.path == path and head.key == segment.key]
        if not heads:
            return True  # said to be missing
        result = check_segment(SegmentTask(store, heads[0], wanted))
        return not result.is_there or bool(result.findings)

    content = path.read_bytes()
    listed = excepted(content)
    assert not is_seen()
    unseen = []
    for at, bit in tampered.flips(len(content)):
        if at not in listed:
            path.write_bytes(tampered.flipped(content, at, bit))
            if not is_seen():
                unseen.append((at, bit))
    path.write_bytes(content)
    assert unseen == []
    assert len(content) - len(listed) > 500


def excepted(content: bytes) -> set[int]:
    """Positions of the live segment at which a change need not be seen."""
    listed = set(range(layout.HEADER_SIZE))
    for name in SEALED_FIELDS:
        listed.difference_update(range(*extent(layout.HEADER, name)))
    chunks, damage = walk_chunks(content, parse_header(content))
    assert not damage
    for chunk in chunks:
        listed.update(chunk.offset + at for at in excepted_of(content, chunk))
    return listed


#: What of an entry counts; the rest is padding, or sealed with the row of the segment only.
SEALED_WORDS = {
    layout.STRING.name: {"commit", "heap", "length"},
    layout.CODE.name: {"commit", "file", "function"},
    layout.NODE.name: {"commit", "parent", "code", "line"},
    layout.META.name: {"commit", "kind", "heap", "length"},
    layout.OWNER.name: {"commit", "kind", "slot", "tid", "interpreter", "number"},
    layout.ANCHOR.name: {"commit"},  # the next one comes to the same times
    layout.EVENT.name: {"commit", "kind", "source", "notes", "ticks", "name", "stack", "heap", "length"},
}
DEFINITIONS = {
    layout.CHUNK_STRINGS: layout.STRING,
    layout.CHUNK_CODES: layout.CODE,
    layout.CHUNK_NODES: layout.NODE,
}
ENTRIES = {
    layout.ENTRY_META: layout.META,
    layout.ENTRY_OWNER: layout.OWNER,
    layout.ENTRY_ANCHOR: layout.ANCHOR,
    layout.ENTRY_EVENT: layout.EVENT,
}


def excepted_of(content: bytes, chunk: Chunk) -> Iterator[int]:
    """The same within a chunk, from its beginning on."""
    count, heap_end = len(committed(content, chunk)), layout.CHUNK_HEADER_SIZE
    for number in range(count):
        at = chunk.size - (number + 1) * chunk.entry_size
        raw = content[chunk.offset + at : chunk.offset + at + chunk.entry_size]
        shape = DEFINITIONS.get(chunk.kind) or ENTRIES[raw[4]]
        said = shape.unpack(raw)
        heap = range(said.get("heap", 0), said.get("heap", 0) + said.get("length", 0))
        heap_end = max(heap_end, heap.stop)
        counts = {place for name in SEALED_WORDS[shape.name] for place in range(*extent(shape, name))}
        yield from (at + place for place in range(chunk.entry_size) if place not in counts)
        is_last = number == count - 1
        if shape is layout.META:
            text = content[chunk.offset + heap.start : chunk.offset + heap.stop]
            yield from (heap.start + place for place in other_attributes(text))
        elif shape is layout.EVENT:
            yield at + extent(shape, "notes")[1] - 1  # most bits of it mean nothing
            yield from (*range(at, at + shape.size), *heap) if is_last else ()  # not sealed yet
        elif shape is layout.NODE:
            yield from (
                at + place for place in range(*extent(shape, "parent")) if not said["parent"]
            )  # nonsense is none
            yield from range(at, at + shape.size) if is_last else ()  # of the event that is not sealed yet
    if chunk.kind == layout.CHUNK_EVENTS:
        yield from range(*extent(layout.CHUNK, "first_id"))
    yield from range(layout.CHUNK.fields["first_id"][0] + 4, layout.CHUNK_HEADER_SIZE)  # reserved
    yield from range(heap_end, chunk.size - count * chunk.entry_size)  # free


def extent(shape: layout.Shape, name: str) -> tuple[int, int]:
    """From where to where a field is."""
    offset, code = shape.fields[name]
    return offset, offset + calcsize(f"<{code}")


def other_attributes(text: bytes) -> Iterator[int]:
    """Where attributes stand that do not say whose a segment is."""
    for name, value in json.loads(text).items():
        if name not in SEALED_ATTRIBUTES:
            said = json.dumps({name: value}, separators=(",", ":"))[1:-1].encode()
            yield from range(text.index(said), text.index(said) + len(said))


@pytest.mark.parametrize("stride", [997])
def test_samples_come_to_a_verdict(store: Path, tmp_path: Path, stride: int) -> None:
    """A byte here and there, of every file, and the whole of `verify`."""
    directory = tmp_path / "copy"
    shutil.copytree(store, directory)
    keys = tampered.first_keys(store)
    for name in tampered.files(directory):
        if name.name == "lock" or name.parts[0] in ("keys", "journal"):
            continue
        path = directory / name
        content = path.read_bytes()
        for at in range(GZIP_HEADER if path.suffix == ".gz" else 7, len(content), stride):
            path.write_bytes(tampered.flipped(content, at, 1))
            assert tampered.is_found(directory, keys), (name, at)
        path.write_bytes(content)
    assert not tampered.is_found(directory, keys)


def test_compressed_log(store: Path, tmp_path: Path) -> None:
    """Every bit: it is read as it was, which a few bits of the header allow, or not at all."""
    path = Log(store).files()[0][1]
    content, expected = path.read_bytes(), list(read_lines(path))
    copy = tmp_path / path.name
    same = set()
    for at in range(len(content)):
        for bit in range(8):
            copy.write_bytes(tampered.flipped(content, at, 1 << bit))
            with suppress(FormatError):
                assert list(read_lines(copy)) == expected
                same.add(at)
    assert path.suffix == ".gz"
    assert same <= {*range(3, GZIP_HEADER), len(content) - GZIP_TRAILER - 1}, same
