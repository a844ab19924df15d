"""Fuzz target of the journal reader: any bytes, read in every way that there is.

    python -m tests.fuzz.fuzz_reader --seconds 60 --seed 7         random changes of the corpus
    python -m tests.fuzz.fuzz_reader --atheris DIR -max_len=65536  coverage-guided, where atheris is installed

The corpus is `tests/journals.SAMPLES` and the files of tests/fuzz/corpus/reader: segments that were once
trouble, or could be. A failure is written there as crash-<hash>.pyaudit; tests replay it from then on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import struct
import sys
import time
from collections.abc import Iterable
from itertools import count, takewhile
from pathlib import Path

import numpy as np

from pythonaudit.errors import FormatError
from pythonaudit.journal.arrow import to_arrow
from pythonaudit.journal.chunks import is_unbegun, parse_header
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.merge import order_rows
from pythonaudit.journal.segment import count_committed, parse_segment
from pythonaudit.journal.summary import summarise_segment
from tests.journals import SAMPLES

CORPUS = Path(__file__).with_name("corpus") / "reader"

#: The longest answer to a segment, for each of its bytes. An entry of 32 bytes can ask for a stack of 128
#: frames with two names of 4096 bytes; nothing that is found by chance comes near.
ANSWER_TIMES = 500

WORDS = (0, 1, 2, 3, 63, 64, 65, 4095, 4096, 16384, 65536, 1 << 22, 1 << 31, (1 << 31) - 1, (1 << 32) - 1)


def read_everything(data: bytes) -> list[bytes]:
    """The JSON of all events; [] if the bytes are no segment.

    Raises:
        AssertionError: one way of reading says something else than another.
    """
    is_unbegun(data)
    try:
        header = parse_header(data)
    except FormatError:
        return []
    segment = parse_segment(data, count_committed(data))
    decoder = SegmentDecoder(segment, 0)
    lines = []
    for event in decoder.events(np.arange(len(segment.events))):
        line = event.to_json()
        found = json.loads(line)
        assert found["process"] == header.process.hex()
        assert event.fields == found.get("fields", {})
        assert bool(event.stack) == ("stack" in found) or found.get("stack") == []
        lines.append(line)
    assert len(lines) <= summarise_segment(data).events
    assert sum(map(len, lines)) <= ANSWER_TIMES * len(data)
    keys, rows = order_rows(segment.events, {})
    assert len(keys) == len(rows) == len(lines)
    for counted in segment.counts:
        segment.text(counted.name)
    return lines


def check(data: bytes) -> None:
    """Reads everything, as lines and as tables."""
    if read_everything(data):
        decoder = SegmentDecoder(parse_segment(data), 0)
        for describe in (False, True):
            to_arrow([(decoder, None)], describe).validate(full=True)


def change(data: bytes, chance: random.Random) -> bytes:
    """Some random changes, most of them where numbers stand."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 8))):
        if len(changed) < 64:
            break
        page = chance.randrange(0, len(changed), 4096)
        place = chance.choice(
            (
                chance.randrange(len(changed)),
                chance.randrange(0, 384, 4),  # header
                page + chance.randrange(0, 24, 4),  # chunk header
                page + 4096 - 4 * chance.randrange(1, 400),  # entries
            )
        )
        place = min(place, len(changed) - 8)
        match chance.randrange(6):
            case 0 | 1:
                struct.pack_into("<I", changed, place, chance.choice(WORDS))
            case 2:
                changed[place] ^= 1 << chance.randrange(8)
            case 3:
                struct.pack_into("<I", changed, place, chance.getrandbits(32))
            case 4:
                size = chance.randrange(1, 200)
                source = chance.randrange(len(changed))
                block = changed[source : source + size]
                changed[place : place + len(block)] = block
            case 5:
                if chance.random() < 0.2:
                    del changed[place:]
                else:
                    changed[place : place + 16] = bytes(16)
    return bytes(changed)


def corpus() -> dict[str, bytes]:
    """All samples and files, by name."""
    files = {path.name: path.read_bytes() for path in sorted(CORPUS.glob("*.pyaudit"))}
    return {name: sample() for name, sample in SAMPLES.items()} | files


def run(rounds: Iterable[object], seed: int) -> None:
    """Reads a random change of the corpus each round; a failure is kept as a file and raised."""
    chance = random.Random(seed)
    samples = list(corpus().values())
    for _ in rounds:
        data = change(chance.choice(samples), chance)
        try:
            check(data)
        except Exception:
            path = CORPUS / f"crash-{hashlib.sha256(data).hexdigest()[:12]}.pyaudit"
            path.write_bytes(data)
            print(f"seed {seed}: kept as {path}", file=sys.stderr)
            raise


def main() -> None:
    if sys.argv[1:2] == ["--atheris"]:
        import atheris

        atheris.instrument_all()
        atheris.Setup([sys.argv[0], *sys.argv[2:]], check)
        atheris.Fuzz()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    args = parser.parse_args()
    end, numbers = time.monotonic() + args.seconds, count()
    run(takewhile(lambda _: time.monotonic() < end, numbers), args.seed)
    print(f"seed {args.seed}: {next(numbers) - 1} journals")


if __name__ == "__main__":
    main()
