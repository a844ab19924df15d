"""Frozen journals and what they say: NAME.pyaudit and NAME.jsonl.

    python -m tests.golden.regenerate            makes what is missing, and writes what they say anew
    python -m tests.golden.regenerate --check    says which files would change; exit status 1 if any

A segment, once frozen, is never written again: whoever changes the reader must still read it. The
samples come from the reference writer (tests/journals.py), those called `real-…` from the recorder, one
for each version of Python: `real.py` beside this file, recorded from its first event.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.segment import parse_segment
from tests.journals import SAMPLES

GOLDEN = Path(__file__).parent

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
    return files


def main() -> int:
    changed = [p for p, data in wanted().items() if not p.exists() or p.read_bytes() != data]
    if "--check" in sys.argv[1:]:
        for path in changed:
            print(f"{path.name} would change")
        return 1 if changed else 0
    for path, data in wanted().items():
        if path in changed:
            path.write_bytes(data)
            print(f"{path.name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
