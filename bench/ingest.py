"""What it costs to archive a journal, on one core, beside writing the same as JSON lines or to SQLite.

    python bench/ingest.py               # journals recorded and made for it
    python bench/ingest.py DIR           # the journal of a real PYTHONAUDIT_DIR; it stays as it is

Recorded: a program that walks through the standard library, reads it, compiles a little, opens sockets and databases
and raises its own events, recorded by this environment. Made: that of bench/read.py, in which few events are
alike. Prints events a second of processor time (`time.process_time`: all threads of this process) and bytes an
event, best of `--rounds`, and both as ratios of JSON lines.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pyarrow as pa
from bench.read import make_journal

from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.cli.interpreters import unrecorded
from pythonaudit.journal.reader import Journal

PROGRAM = """
import os, socket, sqlite3, sys, tempfile
library = os.path.dirname(os.__file__)
number = 0
for _ in range(int(sys.argv[1])):
    for place, _, names in os.walk(library):
        for name in names:
            if name.endswith(".py") and "lib2to3" not in place and "test" not in place:
                path = os.path.join(place, name)
                with open(path, "rb") as file:
                    file.read()
                number += 1
                compile(f"{number % 100}", path, "eval")
                sys.audit("shop.order.paid", {"order": number, "amount": 12.5})
                sys.audit(f"User logged in: username=user{number % 97}, ip=10.0.0.{number % 250}")
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                    one.connect(("127.0.0.1", 9))
                sqlite3.connect(":memory:").close()
"""


def record(directory: Path, rounds: int) -> None:
    """Records the program in this environment."""
    command = [sys.executable, "-m", "pythonaudit", "--dir", str(directory), "run", "--", sys.executable]
    env = unrecorded(os.environ) | {"PYTHONAUDIT_MAX_BYTES": "4G"}
    subprocess.run([*command, "-c", PROGRAM, str(rounds)], check=True, env=env, stderr=subprocess.DEVNULL)


def size_of(place: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def to_lines(journal: Path, place: Path) -> int:
    count = 0
    with open(place / "events.jsonl", "wb") as file:
        for event in Journal(journal).events():
            file.write(event.to_json() + b"\n")
            count += 1
    return count


def to_sqlite(journal: Path, place: Path) -> int:
    """A row an event, with its JSON, and indexes of time and name."""
    connection = sqlite3.connect(place / "events.db")
    connection.execute("CREATE TABLE events (time INTEGER, event TEXT, said TEXT)")

    def rows() -> Iterator[tuple[int, str, str]]:
        for event in Journal(journal).events():
            yield event.time_ns, event.event, event.to_json().decode()

    count = connection.executemany("INSERT INTO events VALUES (?, ?, ?)", rows()).rowcount
    connection.execute("CREATE INDEX by_time ON events (time)")
    connection.execute("CREATE INDEX by_event ON events (event)")
    connection.commit()
    connection.close()
    return count


def to_archive(journal: Path, place: Path) -> int:
    shutil.copytree(journal / "journal", place / "copy" / "journal")
    begin = time.process_time()
    events = ingest(Journal(place / "copy"), Archive(place)).events
    SPENT.append(time.process_time() - begin)
    shutil.rmtree(place / "copy")
    return events


SPENT: list[float] = []
TASKS: dict[str, Callable[[Path, Path], int]] = {
    "JSON lines": to_lines,
    "SQLite": to_sqlite,
    "Parquet": to_archive,
}


def measure(task: Callable[[Path, Path], int], journal: Path, rounds: int) -> tuple[int, float, int]:
    """Events, processor seconds and bytes."""
    best, events, size = float("inf"), 0, 0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as made:
            SPENT.clear()
            begin = time.process_time()
            events = task(journal, Path(made))
            best = min(best, SPENT[0] if SPENT else time.process_time() - begin)
            size = size_of(Path(made))
    return events, best, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as made:
        journals = {"given": args.directory}
        if args.directory is None:
            journals = {"recorded": Path(made, "recorded"), "made": Path(made, "made")}
            record(journals["recorded"], 4)
            make_journal(journals["made"], 200_000)
        for name, journal in journals.items():
            size = size_of(journal / "journal")
            print(f"{name}: {size / 1e6:.0f} MB of journal")
            print(f"{'':12} {'events':>10} {'events/s':>10} {'':>6} {'bytes/event':>12}")
            first: tuple[float, float] | None = None
            for task_name, task in TASKS.items():
                events, seconds, written = measure(task, journal, args.rounds)
                speed, each = events / seconds, written / events
                first = first or (speed, each)
                ratios = f"{speed / first[0]:5.1f}x", f"{each / first[1]:.2f}x"
                print(f"{task_name:12} {events:10,} {speed:10,.0f} {ratios[0]} {each:12.1f} {ratios[1]}")


if __name__ == "__main__":
    main()
