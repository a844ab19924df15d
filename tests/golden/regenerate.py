"""Frozen journals and what they say: NAME.pyaudit and NAME.jsonl; a frozen archive: archive-1/ and archive-1.jsonl.

    python -m tests.golden.regenerate            makes what is missing, and writes what they say anew
    python -m tests.golden.regenerate --check    says which files would change; exit status 1 if any

A segment, once frozen, is never written again: whoever changes the reader must still read it. The
samples come from the reference writer (tests/journals.py), those called `real-…` from the recorder, one
for each version of Python: `real.py` beside this file, recorded from its first event. The archive is of
some of them, in two batches, one of which was put together of two; it too is made where it is missing, by
root, and never again.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from pythonaudit.archive.compact import compact
from pythonaudit.archive.manifest import Archive
from pythonaudit.journal import layout
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.segment import parse_segment
from tests.archives import archived_journal, lines, move
from tests.journals import SAMPLES

GOLDEN = Path(__file__).parent
ARCHIVE = GOLDEN / "archive-1"

#: Whose journals they are said to be: a user that every host knows.
UID = 0


def lines_of(data: bytes) -> bytes:
    """What a segment says, as JSON lines."""
    segment = parse_segment(data)
    events = SegmentDecoder(segment, UID).events(np.arange(len(segment.events)))
    return b"".join(event.to_json() + b"\n" for event in events)


def wanted() -> dict[Path, bytes]:
    """All files as they should be."""
    files = {GOLDEN / f"{name}.pyaudit": sample() for name, sample in SAMPLES.items()}
    files |= {path: path.read_bytes() for path in GOLDEN.glob("*.pyaudit")}
    files |= {path.with_suffix(".jsonl"): lines_of(data) for path, data in files.items()}
    if ARCHIVE.exists():
        files[ARCHIVE.with_suffix(".jsonl")] = b"".join(line + b"\n" for line in lines(archived_journal(ARCHIVE)))
    return files


def make_archive() -> None:
    """Freezes an archive of golden journals."""
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        box = directory / "journal" / f"u{UID}"
        box.mkdir(parents=True)
        for names in (("arguments", "threads"), ("messages",), ("real-3.12",)):
            for name in names:
                data = bytearray((GOLDEN / f"{name}.pyaudit").read_bytes())
                process = (name.encode() * 16)[:16]  # those of the reference writer have one and the same
                at = layout.HEADER.fields["process"][0]
                data[at : at + 16] = process
                (box / f"0-{process.hex()}-000000.pyaudit").write_bytes(data)
            move(directory)
            if names == ("messages",):
                compact(Archive(directory))
        shutil.copytree(directory / "archive", ARCHIVE / "archive", ignore=shutil.ignore_patterns("lock"))


def main() -> int:
    changed = [p for p, data in wanted().items() if not p.exists() or p.read_bytes() != data]
    if "--check" in sys.argv[1:]:
        for path in changed:
            print(f"{path.name} would change")
        return 1 if changed else 0
    if not ARCHIVE.exists():
        make_archive()
    for path, data in wanted().items():
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)
            print(f"{path.name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
