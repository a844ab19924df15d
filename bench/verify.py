"""What it costs to verify what is sealed, beside hashing the same files with sha256sum.

    python bench/verify.py               # a journal recorded and one made for it, archived and sealed
    python bench/verify.py --rounds 5

Recorded and made as in bench/ingest.py. Prints events a second of processor time (all processes, user and system):
sealed and archived; verified by one process, and by one for each processor; and hashed with `sha256sum`, the files of
the archive alone. And events a second on the clock with one process for each processor, which a machine with other
work falsifies. Best of `--rounds`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
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


def best(task: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Seconds of processor time, and on the clock."""
    spent, passed = [], []
    for _ in range(rounds):
        before, start = sum(os.times()[:4]), time.perf_counter()
        task()
        passed.append(time.perf_counter() - start)
        spent.append(sum(os.times()[:4]) - before)
    return min(spent), min(passed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    workers = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as made:
        journals = {"recorded": Path(made, "recorded"), "made": Path(made, "made")}
        record(journals["recorded"], 12)
        make_journal(journals["made"], 1_000_000)
        titles = ("sealing", "verifying", f"with {workers}", "sha256sum", f"clock, {workers}")
        print(f"{'':10} {'events':>10} {'MB':>6}", *(f"{title:>12}" for title in titles))
        for name, directory in journals.items():
            sealing = seal(directory)
            whole = verify(directory, Anchors()).verdicts[0]
            assert whole.is_fine and whole.events, whole
            command = ["sha256sum", *sorted((directory / "archive").rglob("*.parquet"))]
            one, _ = best(partial(verify, directory, Anchors(), workers=1), args.rounds)
            many, passed = best(partial(verify, directory, Anchors(), workers=workers), args.rounds)
            hashing, _ = best(partial(subprocess.check_call, command, stdout=subprocess.DEVNULL), args.rounds)
            size = size_of(directory / "archive") / 1e6
            figures = [1e9 / sealing, *(whole.events / seconds for seconds in (one, many, hashing, passed))]
            print(f"{name:10} {whole.events:10,} {size:6.1f}", *(f"{figure:12,.0f}" for figure in figures))


if __name__ == "__main__":
    main()
