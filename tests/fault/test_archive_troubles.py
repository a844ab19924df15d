"""A full disk at each write, an archive that may not be written, many small processes, much at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pythonaudit.agent.config import Retention
from pythonaudit.archive.compact import compact
from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.retention import apply
from pythonaudit.archive.sealer import Sealer
from pythonaudit.errors import StoreError
from pythonaudit.integrity.writer import Writer
from pythonaudit.journal.reader import Journal
from tests.archives import DAY_NS, archived_journal, lines, move, process_of, segments, write
from tests.commands import COMMAND, environment, run
from tests.fault.conftest import Disk
from tests.fault.ways import ROOT_ONLY
from tests.journal_writer import BEGIN_NS
from tests.recorded import SOAK
from tests.seals import begin_seal, check_sealed, records

PAGE = 4096


@ROOT_ONLY
@pytest.mark.parametrize("verb", ["ingest", "compact"])
def test_disk_full_at_each_write(disk: Disk, verb: str) -> None:
    directory = disk("archive", "3m")
    for process in range(1, 4):
        write(directory, process)
    expected = lines(Journal(directory))
    if verb == "compact":
        move(directory, 1)
    filler = directory / "filler"
    refused = 0
    for pages in range(200):
        filler.unlink(missing_ok=True)
        room = os.statvfs(directory).f_bavail * PAGE
        with open(filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(room - pages * PAGE, 1))
        try:
            if verb == "compact":
                compact(Archive(directory))
            else:
                move(directory, 1)
            break
        except StoreError as error:
            refused += 1
            assert "No space left" in str(error)
            assert "\n" not in str(error)
        assert lines(archived_journal(directory)) == expected
        assert not list((directory / "archive").rglob("*.new"))
    assert refused > 3
    assert lines(archived_journal(directory)) == expected
    assert Archive(directory).problems() == []


@ROOT_ONLY
def test_disk_full_is_one_line_and_status_3(disk: Disk) -> None:
    directory = disk("archive", "1m")
    write(directory, 1)
    with open(directory / "filler", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, os.statvfs(directory).f_bavail * PAGE)
    done = run(directory, "ingest")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert "No space left on device; " in done.stderr


@ROOT_ONLY
def test_read_only_disk(disk: Disk) -> None:
    directory = disk("archive", "1m")
    write(directory, 1)
    move(directory)
    write(directory, 2)
    subprocess.run(["mount", "-o", "remount,ro", directory], check=True)
    done = run(directory, "ingest")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert "Read-only file system; " in done.stderr
    done = run(directory, "log", "--format", "jsonl")
    said = f"pythonaudit: this reading is not recorded in {directory}: Read-only file system\n"
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 6, said)


@ROOT_ONLY
def test_no_permission_is_one_line_and_status_3(tmp_path: Path) -> None:
    write(tmp_path, 1)
    move(tmp_path)
    (tmp_path / "archive").chmod(0)
    without = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    for verb in ("ingest", "log", "stats"):
        command = [*without, *COMMAND, "--dir", str(tmp_path), verb]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True)
        assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
        assert "Permission denied; " in done.stderr


def test_thousands_of_processes_of_one_event(tmp_path: Path) -> None:
    count = 5_000 if SOAK > 1 else 1_000
    for process in range(1, count + 1):
        write(tmp_path, process, events=1)
    expected = lines(Journal(tmp_path))
    report = move(tmp_path)
    assert (report.segments, report.events) == (count, count)
    assert segments(tmp_path) == []
    assert lines(archived_journal(tmp_path)) == expected


PEAK = """
import re, sys
from pathlib import Path
from tests.archives import move, write
directory = Path(sys.argv[1])
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
Path("/proc/self/clear_refs").write_text("5")  # forgets what the process that started us had (proc(5))
before = peak()
report = move(directory, 16 << 20)
print(report.events, peak() - before)
"""


def test_memory_is_bounded_by_a_batch(tmp_path: Path) -> None:
    """Two batches, or six: they take the same memory."""
    peaks = []
    for count in (16, 64):
        directory = tmp_path / f"{count}"
        data = bytearray(write(directory, count, events=18_000, chunk_bytes=65536).read_bytes())
        (box,) = (directory / "journal").iterdir()
        for process in range(1, count):
            data[24:40] = process_of(process)
            (box / f"0-{process_of(process).hex()}-000000.pyaudit").write_bytes(data)
        command = [sys.executable, "-c", PEAK, str(directory)]
        env = environment() | {"PYTHONPATH": f"{environment()['PYTHONPATH']}:{Path(__file__).parents[2]}"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        events, peak = map(int, done.stdout.split())
        assert events == count * 18_000
        peaks.append(peak)
    assert 0 < peaks[1] < 1.5 * peaks[0]
    assert peaks[1] < 1 << 20  # KiB


@ROOT_ONLY
def test_disk_full_while_retention_tells(disk: Disk) -> None:
    """What cannot be told does not go; and with a little room it does."""
    directory = disk("archive", "4m")
    (directory / "journal").mkdir()
    sealer = begin_seal(directory)
    for process, age in enumerate((40, 39, 1), 1):
        write(directory, process, begin_ns=BEGIN_NS - age * DAY_NS)
        ingest(Journal(directory), Archive(directory), sealer=sealer)
    limits = Retention(age=30 * 86400.0, size=None, journal_age=None)
    filler = directory / "filler"
    refused = 0
    for pages in range(20):
        filler.unlink(missing_ok=True)
        room = os.statvfs(directory).f_bavail * PAGE
        with open(filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(room - pages * PAGE, 1))
        try:
            report = apply(Archive(directory), Journal(directory), limits, (), Sealer(Writer(directory)), BEGIN_NS)
            break
        except StoreError as error:
            refused += 1
            assert "No space left" in str(error)
            told = {batch for record in records(directory, "dropped") for batch in record["batches"]}
            assert len(told) + len(Archive(directory).entries()) >= 3
    assert refused >= 1
    assert report.batches in (0, 2)
    assert len(lines(archived_journal(directory))) == 3
    assert len(records(directory, "dropped")) == 1
    assert check_sealed(directory) == 3
