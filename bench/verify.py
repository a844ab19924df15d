"""What it costs to verify what is sealed, beside hashing the same files with sha256sum.

    python bench/verify.py               # a journal recorded and one made for it, archived and sealed
    python bench/verify.py --rounds 5

Recorded and made as in bench/ingest.py. Prints events a second of time on the clock, with one process and with one
for each processor, best of `--rounds`; and how long `sha256sum` takes for all files of the archive.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.ingest import record, size_of
from bench.read import make_journal

from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.sealer import Sealer, begin
from pythonaudit.archive.verify import verify
from pythonaudit.integrity.verify import Anchors
from pythonaudit.integrity.writer import Writer
from pythonaudit.journal.reader import Journal

ORIGIN = "pythonaudit/bench/00000000"
BATCH_BYTES = 16 << 20


def seal(directory: Path) -> float:
    """Archives and seals; gives how long it takes an event, in nanoseconds of processor time."""
    begin_ns = time.process_time_ns()
    begin(Writer(directory), Journal(directory), Archive(directory), ORIGIN, "0")
    report = ingest(
        Journal(directory), Archive(directory), batch_bytes=BATCH_BYTES, sealer=Sealer(Writer(directory))
    )
    return (time.process_time_ns() - begin_ns) / report.events


def best(task: Callable[[], object], rounds: int) -> float:
    """Seconds."""
    found = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        task()
        found = min(found, time.perf_counter() - start)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    workers = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as made:
        journals = {"recorded": Path(made, "recorded"), "made": Path(made, "made")}
        record(journals["recorded"], 12)
        make_journal(journals["made"], 1_000_000)
        print(
            f"{'':10} {'events':>10} {'MB':>6} {'sealed, ns':>11} {'1 process':>12} {workers:>3} processes {'sha256sum':>12}"
        )
        for name, directory in journals.items():
            sealing = seal(directory)
            [whole] = [one for one in verify(directory, Anchors()).verdicts if one.kind == "archive"]
            assert whole.is_fine and whole.events, whole
            files = list((directory / "archive").rglob("*.parquet"))
            speeds = [
                whole.events / best(task, args.rounds)
                for task in (
                    lambda directory=directory: verify(directory, Anchors(), workers=1),
                    lambda directory=directory: verify(directory, Anchors(), workers=workers),
                    lambda files=files: subprocess.run(
                        ["sha256sum", *files], stdout=subprocess.DEVNULL, check=True
                    ),
                )
            ]
            size = size_of(directory / "archive") / 1e6
            print(
                f"{name:10} {whole.events:10,} {size:6.1f} {sealing:11,.0f} "
                f"{speeds[0]:12,.0f} {speeds[1]:13,.0f} {speeds[2]:12,.0f}"
            )


if __name__ == "__main__":
    main()
