"""What it costs to send an archive to object storage, and to ask a bucket of many hosts.

    python bench/fleet.py [--events N] [--hosts N] [--days N] [--batches N] [--hour N]

Records N events for real (bench/archive_program.py), archives them, and sends the archive to a store on this machine
(SeaweedFS) three times; told is the best, in events a second of the clock, all in one process.

Then makes a bucket of HOSTS x DAYS with BATCHES batches a day: for each an entry of the manifest, as a sender writes it,
and for one host the parts as well, which hold HOUR recorded events in each batch. One hour of that host is asked for by
commands of their own, without a cache; told are seconds of the clock and of processors, the better of three, beside
those of the same question to a directory that has this host alone, and the bytes of all answers of the store as a share
of the bytes that all parts have by what the entries say. Last, one batch's part read whole and by ranges.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import archive as recorded
import pyarrow.fs
import pyarrow.parquet as pq

from pythonaudit.archive.address import parse_bucket
from pythonaudit.archive.bucket import Span, build_listed, entry_key, host_key, part_key
from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive, Entry
from pythonaudit.archive.objects import Bucket
from pythonaudit.archive.sending import Sender
from pythonaudit.journal.decode import format_time
from pythonaudit.journal.reader import Journal
from tests.buckets import KEY, SECRET, Store, running_proxy, running_store, variables

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
COMMAND = (sys.executable, "-m", "pythonaudit")
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--batches", type=int, default=2, help="a day and host")
    parser.add_argument("--hour", type=int, default=40_000, help="events of a batch")
    args = parser.parse_args()
    with running_store() as store, tempfile.TemporaryDirectory() as name:
        os.environ.update(variables(store.endpoint))
        send(store, Path(name, "large"), args.events)
        ask(store, Path(name), args)


def make(directory: Path, events: int) -> Archive:
    """An archive of recorded events."""
    recorded.record(directory, events)
    ingest(Journal(directory), Archive(directory))
    return Archive(directory)


def send(store: Store, directory: Path, events: int) -> None:
    """Sends an archive."""
    make(directory, events)
    best, sent = 0.0, None
    for _ in range(ROUNDS):
        sender = Sender(Bucket(parse_bucket(store.new_prefix())), "web-1", 300, lambda: None)
        begin, used = time.perf_counter(), time.process_time()
        sent = sender.send(directory, begin + 1e9)
        seconds, used = time.perf_counter() - begin, time.process_time() - used
        best = max(best, sent.events / seconds)
    assert sent and sent.is_done
    print(
        f"sent: {sent.events:,} events in {sent.objects} objects of {sent.bytes / 1e6:,.1f} MB, {best:,.0f} a second "
        f"(goal: 300,000); {sent.events / used:,.0f} a second of processor time"
    )


def ask(store: Store, place: Path, args: argparse.Namespace) -> None:
    """Asks a bucket for one hour of one host."""
    source = make(place / "small", args.hour)
    (entry, *_) = source.entries()
    host, begin_ns = f"web-{args.hosts // 2:04d}", min(part.begin_ns or 0 for part in entry.of("events"))
    first_ns = begin_ns - args.days * DAY_NS
    address = store.new_prefix()
    bucket = Bucket(parse_bucket(address))
    into = Archive(place / "asked")
    mine = [
        recorded.copy_batch(source, into, entry, host, f"{number:03x}", first_ns + number * step - begin_ns)
        for number in range(args.days * args.batches)
        for step in [DAY_NS // args.batches]
    ]
    began = time.perf_counter()
    total = fill(bucket, into, mine, host, args)
    print(
        f"a bucket of {args.hosts:,} hosts, {args.days} days, {args.hosts * len(mine):,} batches: {total / 1e9:,.1f} GB "
        f"in parts; made in {time.perf_counter() - began:,.0f} s"
    )
    asked = mine[len(mine) // 2]
    since_ns = min(part.begin_ns or 0 for part in asked.of("events"))
    hour = [f"--host={host}", f"--since={_text(since_ns)}", f"--until={_text(since_ns + HOUR_NS)}"]
    for words in (["log", "--format=jsonl", *hour], ["stats", *hour], ["who", "opens", *hour]):
        tell(store, address, into.root.parent, words, total)
    part = asked.of("events")[0]
    compare(store, f"{address.removeprefix('s3://')}/{part_key(host, part.path, part.sha256)}")


def fill(bucket: Bucket, into: Archive, mine: list[Entry], host: str, args: argparse.Namespace) -> int:
    """Writes the entries of all hosts, and the parts of one; bytes of all parts, as the entries say."""
    sender = Sender(bucket, host, 300, lambda: None)
    assert sender.send(into.root.parent, time.monotonic() + 1e9).is_done

    def objects() -> Iterator[tuple[str, bytes]]:
        for number in range(args.hosts):
            name = f"web-{number:04d}"
            if name != host:
                yield host_key(name, name), b""
                yield from (entry_of(one, name) for one in mine)

    bucket.all(lambda one: bucket.put(*one), objects())
    return sum(part.bytes for one in mine for part in one.parts) * args.hosts


def entry_of(entry: Entry, host: str) -> tuple[str, bytes]:
    """The entry of another host's batch: key and object."""
    batch = f"{entry.batch[:-8]}{int(host[4:]):08x}"
    parts = tuple(
        replace(part, path=part.path.replace(entry.batch, batch), host=part.host and host) for part in entry.parts
    )
    text = replace(entry, batch=batch, parts=parts).to_json().encode()
    times = [time_ns or 0 for part in entry.of("events") for time_ns in (part.begin_ns, part.end_ns)]
    return entry_key(host, batch, Span(min(times), max(times))), build_listed(text, [host], None)


def tell(store: Store, address: str, here: Path, words: list[str], total: int) -> None:
    """Seconds and bytes of a command."""
    seconds, used, lines = min(ask_once(store, address, words) for _ in range(ROUNDS))
    local = min(ask_once(store, str(here), words) for _ in range(ROUNDS))
    assert local[2] == lines
    with running_proxy(store.endpoint) as proxy:
        ask_once(store, address, words, proxy.endpoint)
        read, requests = proxy.bytes, len(proxy.requests)
    print(
        f"{words[0]}, one hour of one host: {seconds:.2f} s (goal: 2), {used:.2f} s of processors, {lines:,} lines; of a "
        f"directory {local[0]:.2f} and {local[1]:.2f} s; {requests} requests, {read / 1e6:.2f} MB, "
        f"{100 * read / total:.4f} % of all (goal: 1)"
    )


def ask_once(store: Store, place: str, words: list[str], endpoint: str = "") -> tuple[float, float, int]:
    """How long a command takes, by the clock and by processors, without a cache; and how many lines it prints."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache, "AWS_ENDPOINT_URL": endpoint or store.endpoint}
        command = [*COMMAND, "--dir", place, *words]
        begin, before = time.perf_counter(), _used()
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
        return time.perf_counter() - begin, _used() - before, done.stdout.count(b"\n")


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare(store: Store, path: str) -> None:
    """One part whole, and the columns of one question by ranges."""
    for name, columns in (("all columns", None), ("4 columns", ["time", "event", "path", "package"])):
        for how in ("whole", "ranges"):
            with running_proxy(store.endpoint) as proxy:
                files = pyarrow.fs.S3FileSystem(
                    access_key=KEY,
                    secret_key=SECRET,
                    endpoint_override=proxy.endpoint.removeprefix("http://"),
                    scheme="http",
                    region="us-east-1",
                )
                begin = time.perf_counter()
                with files.open_input_file(path) as file:
                    if how == "whole":
                        pq.ParquetFile(io.BytesIO(file.read())).read(columns)
                    else:
                        pq.ParquetFile(file, pre_buffer=True).read(columns)
                seconds = time.perf_counter() - begin
                print(
                    f"{name}, {how}: {1000 * seconds:.0f} ms, {len(proxy.requests)} requests, "
                    f"{proxy.bytes / 1e6:.2f} MB"
                )


def _text(time_ns: int) -> str:
    return format_time(time_ns).decode()


if __name__ == "__main__":
    main()
