"""A small sealed store with everything in it, made by the code that seals, for tests that change it afterwards.

Before sealing began: process 1, archived. Then processes 2 and 3, archived one after the other with a change of keys
in between, and put together with what was found; process 4, archived after that; process 5, which runs: a segment
that is closed, and one that is open, sealed in part, with events that are not sealed yet. The log has several files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from pythonaudit.archive.compact import compact
from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.sealer import Sealer, begin
from pythonaudit.archive.verify import Report, verify
from pythonaudit.integrity import notes
from pythonaudit.integrity.log import Log, parse_record, read_lines
from pythonaudit.integrity.verdicts import Finding
from pythonaudit.integrity.verify import Anchors, Checker
from pythonaudit.integrity.writer import Writer
from pythonaudit.journal import layout
from pythonaudit.journal.reader import Journal
from tests.archives import alive, process_of, write
from tests.recorded import SOAK

ORIGIN = "pythonaudit/web-1/1f0a7c3e"
LOG_FILE_BYTES = 3000


@contextmanager
def small_log_files() -> Iterator[None]:
    with mock.patch("pythonaudit.integrity.writer.FILE_BYTES", LOG_FILE_BYTES):
        yield


def move(directory: Path, **options: int) -> None:
    """Ingests what is closed, sealed."""
    sealer = Sealer(Writer(directory))
    ingest(Journal(directory), Archive(directory), sealer=sealer, **options)


def put_together(directory: Path) -> None:
    """Compacts, sealed."""
    assert compact(Archive(directory), sealer=Sealer(Writer(directory)))


def seal_live(directory: Path) -> None:
    """Seals what is in the journal by now."""
    journal = Journal(directory)
    Sealer(Writer(directory)).seal(d for d in map(journal.load, journal.heads()) if d)


def rotate(directory: Path) -> None:
    writer = Writer(directory)
    with writer.lock():
        writer.rotate()
        writer.checkpoint()


def start(directory: Path) -> None:
    """Begins to seal."""
    begin(Writer(directory), Journal(directory), Archive(directory), ORIGIN, "0")


def build(directory: Path) -> None:
    """The store that is described above."""
    with small_log_files():
        write(directory, 1)
        ingest(Journal(directory), Archive(directory))
        write(directory, 5, 0, state=layout.STATE_ROTATED, **alive())
        write(directory, 5, 1, state=layout.STATE_OPEN, **alive())
        start(directory)
        for process in (2, 3):
            for sequence in range(2):
                state = layout.STATE_CLEAN_END if sequence else layout.STATE_ROTATED
                write(directory, process, sequence, state=state)
            move_ended(directory)
            rotate(directory)
        put_together(directory)
        write(directory, 4)
        move_ended(directory)
        write(directory, 5, 1, 5, state=layout.STATE_OPEN, number=3, **alive())
        seal_live(directory)
        write(directory, 5, 1, 6, state=layout.STATE_OPEN, number=3, **alive())


def move_ended(directory: Path) -> None:
    """Ingests what is closed, but for the running process, which stays in the journal."""
    aside = directory / "aside"
    aside.mkdir()
    running = list((directory / "journal").rglob(f"*{process_of(5).hex()}*"))
    for path in running:
        path.rename(aside / path.name)
    move(directory)
    for path in running:
        (aside / path.name).rename(path)
    aside.rmdir()


def first_keys(directory: Path) -> Anchors:
    """The key that `pythonaudit keys export` prints."""
    for line in Log(directory).lines():
        record = parse_record(line)
        if record["record"] == "key":
            return Anchors(keys=(notes.parse_key(notes.split_note(record["note"])[0])[1],))
    raise AssertionError


def newest_checkpoint(directory: Path) -> Anchors:
    note = Log(directory).read_checkpoint()
    assert note
    return Anchors(checkpoints=(note,))


def check(directory: Path, anchors: Anchors | None = None) -> Report:
    """Verifies, in this process."""
    return verify(directory, anchors or Anchors(), workers=1)


def is_found(directory: Path, anchors: Anchors | None = None) -> bool:
    """Whether anything is found."""
    return not all(verdict.is_fine for verdict in check(directory, anchors).verdicts)


def files(directory: Path) -> list[Path]:
    """Every file of a store, below it."""
    return sorted(path.relative_to(directory) for path in directory.rglob("*") if path.is_file())


def read_log(directory: Path) -> dict[int, bytes]:
    """What the files of the log hold, by the number of their first record."""
    return {
        first: b"".join(line + b"\n" for line, _ in read_lines(path)) for first, path in Log(directory).files()
    }


def check_log(contents: Mapping[int, bytes], note: str | None, anchors: Anchors) -> list[Finding]:
    """What is found in a log alone, from memory."""
    checker = Checker(note, anchors)
    for first, content in sorted(contents.items()):
        lines = content.split(b"\n")[:-1]
        for number, line in enumerate(lines, first):
            checker.add(number, line)
    checked = checker.finish()
    captures = checked.account.captures.values()
    return [
        *checked.findings,
        *checked.account.findings,
        *(one for capture in captures for one in capture.findings),
    ]


def flips(size: int) -> Iterator[tuple[int, int]]:
    """Positions, and which bit is flipped there: one of each byte; with SOAK=2 all."""
    for at in range(size):
        yield from ((at, 1 << bit) for bit in (range(8) if SOAK > 1 else (at % 8,)))


def flipped(content: bytes, at: int, bit: int) -> bytes:
    return content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]
