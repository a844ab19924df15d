"""How fast a journal is read, on one core: to JSON lines, and to Arrow.

    python bench/read.py                 # a journal made for it
    python bench/read.py DIR             # the journal of a real PYTHONAUDIT_DIR

The made one has a million events: file, import and exec events with repeating and with new arguments,
application events with dictionaries, free-form messages that are all different; stacks of 4 to 16
frames, one in fifty new. It is written by the reference writer of the tests.

Prints events and processor seconds, best of `--rounds`. The journal is in the page cache.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pythonaudit.journal import layout
from pythonaudit.journal.arrow import to_arrow
from pythonaudit.journal.reader import Journal
from tests.journal_writer import Frame, SegmentWriter, ThreadWriter

SEGMENT_EVENTS = 30_000
CHUNK_BYTES = 65536


def stack_of(number: int) -> list[Frame]:
    depth = 4 + number % 13
    return [(f"/srv/shop/module{(number + i) % 40}.py", 10 + i * 7, f"handle_{i}") for i in range(depth)]


def write_event(thread: ThreadWriter, number: int) -> None:
    stack = stack_of(number // 50 if number % 50 == 0 else number % 97)
    kind = number % 10
    if kind < 3:
        thread.event("open", [f"/srv/shop/data/{number % 500}.json", "r", 524288], stack=stack)
    elif kind < 5:
        thread.event("open", [f"/srv/shop/data/order-{number}.json", "w", 524865], stack=stack)
    elif kind < 6:
        thread.event("import", [f"shop.module{number % 300}", None, {"$length": 7}], stack=stack, notes=4)
    elif kind < 7:
        thread.event("socket.connect", [{"$type": "socket"}, ["10.0.0.7", 5432]], stack=stack)
    elif kind < 8:
        paid = {"order": number, "amount": 12.5, "currency": "EUR"}
        thread.event("shop.order.paid", [paid], stack=stack, source=layout.SOURCE_APPLICATION)
    else:
        text = f"User logged in: username=user{number}, ip=192.168.{number % 250}.1"
        thread.event(text, stack=stack, source=layout.SOURCE_APPLICATION, inline=True)


def make_journal(directory: Path, events: int) -> None:
    number = 0
    for sequence in range(-(-events // SEGMENT_EVENTS)):
        writer = SegmentWriter(
            sequence=sequence,
            begin_ns=1_795_357_833_000_000_000 + sequence * SEGMENT_EVENTS * 20_000,
            chunk_bytes=CHUNK_BYTES,
        )
        threads = [writer.thread(slot, 1000 + slot, number=number) for slot in (1, 2)]
        for _ in range(min(SEGMENT_EVENTS, events - sequence * SEGMENT_EVENTS)):
            writer.ticks += 20_000
            write_event(threads[number // 100 % 2], number)
            number += 1
        writer.save(directory)


def to_lines(directory: Path) -> int:
    count = size = 0
    for event in Journal(directory).events():
        size += len(event.to_json())
        count += 1
    return count


def to_table(directory: Path, describe: bool) -> int:
    journal = Journal(directory)
    loaded = map(journal.load, journal.heads())
    table = to_arrow(((d, None) for d in loaded if d is not None), describe=describe)
    return int(table.num_rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", nargs="?", type=Path)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        directory = args.directory or Path(made)
        if args.directory is None:
            make_journal(directory, args.events)
        size = sum(path.stat().st_size for path in directory.rglob("*.pyaudit"))
        tasks: dict[str, Callable[[], int]] = {
            "JSON lines": lambda: to_lines(directory),
            "Arrow": lambda: to_table(directory, describe=False),
            "Arrow with fields": lambda: to_table(directory, describe=True),
        }
        print(f"{'':18} {'events':>10} {'seconds':>9} {'events/s':>11}   ({size / 1e6:.0f} MB)")
        for name, task in tasks.items():
            best, events = float("inf"), 0
            for _ in range(args.rounds):
                begin = time.process_time()
                events = task()
                best = min(best, time.process_time() - begin)
            print(f"{name:18} {events:10,} {best:9.2f} {events / best:11,.0f}")


if __name__ == "__main__":
    main()
