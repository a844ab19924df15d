"""What an archive costs and how fast it answers, beside JSON lines and SQLite.

usage: python bench/archive.py [--events N] [--copies K] [--store DIR] [--ask]
       python bench/archive.py --events 10_000_000 --copies 10       # the table in docs/figures.md: an hour, 8 GB of disk

Records N events for real (bench/archive_program.py, several processes), moves them into an archive, and
multiplies them: each copy has processes, hosts and hours of its own. Then asks the archive what people ask, each
question as a command of its own, cold but for the page cache. The same questions are asked of JSON lines with
grep and jq and of SQLite, on the first SAMPLE events, for what one would have had instead; there the seconds
are of the sample, and grow with it.

Ingest is told as events a second of processor time (user and system, of one process); questions as seconds of the
clock and of processors, the better of two, with the most memory that was used. `--ask` asks a store that an earlier
run has left. Last come small commands, as multiples of the processor time of `python -c pass`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import environment
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pythonaudit.archive import schema
from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive, Entry, Part
from pythonaudit.archive.parts import write_events, write_part
from pythonaudit.cli.filters import open_journal
from pythonaudit.journal.reader import Journal

SAMPLE = 500_000
PROCESSES = 8
HOUR_NS = 3_600_000_000_000
TREES = ("/usr", "/var/lib", str(Path(sys.base_prefix)), "/etc")
COMMAND = (sys.executable, "-m", "pythonaudit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--copies", type=int, default=3)
    parser.add_argument("--store", type=Path, default=environment.ROOT / "build" / "archive")
    parser.add_argument("--ask", action="store_true", help="the store is there: only ask it")
    args = parser.parse_args()
    if not args.ask:
        make(args)
    ask(args.store, args.store / "sample.jsonl")
    start_up(args.store / "small")


def make(args: argparse.Namespace) -> None:
    """Records, archives and multiplies."""
    shutil.rmtree(args.store, ignore_errors=True)
    record(args.store, args.events)
    archive = Archive(args.store)
    before = time.process_time()
    report = ingest(Journal(args.store), archive)
    rate = report.events / (time.process_time() - before)
    print(f"ingest: {report.events:,} events, {rate:,.0f} a second, {report.bytes / report.events:.1f} bytes each")
    sizes(archive)
    write_sample(args.store)
    for copy in range(1, args.copies):
        multiply(archive, copy, [entry for entry in archive.entries() if is_original(entry)])


def record(store: Path, events: int) -> None:
    program = str(Path(__file__).with_name("archive_program.py"))
    env = {**os.environ, "PYTHONAUDIT_MAX_BYTES": "16G"}
    for pair in range(0, PROCESSES, 2):  # two at a time
        running = [
            subprocess.Popen(
                [
                    *(*COMMAND, "--dir", str(store), "run", "-q", "--", sys.executable, program),
                    *(str(number), str(events // PROCESSES), *TREES[number % 4 :], *TREES[: number % 4]),
                ],
                env=env,
            )
            for number in (pair, pair + 1)
        ]
        for process in running:
            assert process.wait() == 0


def is_original(entry: Entry) -> bool:
    return all(part.host is None or not part.host.startswith("copy-") for part in entry.parts)


def sizes(archive: Archive) -> None:
    found: dict[str, int] = {}
    rows = 0
    for entry in archive.entries():
        for part in entry.parts:
            metadata = pq.read_metadata(archive.path(part))
            rows += part.rows if part.table == "events" else 0
            for group in range(metadata.num_row_groups):
                for at in range(metadata.num_columns):
                    column = metadata.row_group(group).column(at)
                    name = f"{part.table}.{column.path_in_schema}"
                    found[name] = found.get(name, 0) + column.total_compressed_size
    largest = sorted(found.items(), key=lambda item: -item[1])[:8]
    print("  of which " + ", ".join(f"{name} {size / rows:.1f}" for name, size in largest))


def multiply(archive: Archive, copy: int, originals: list[Entry]) -> None:
    """Further batches: the same events of other processes, on another host, so many hours before."""
    for entry in originals:
        copy_batch(archive, archive, entry, f"copy-{copy}", f"{copy:02x}", -copy * HOUR_NS)


def copy_batch(source: Archive, into: Archive, entry: Entry, host: str, mark: str, moved_ns: int) -> Entry:
    """A batch once more.

    Args:
        source, into: from which archive, and to which one.
        entry: of the batch.
        host: on which it happens.
        mark: what ids of processes begin with.
        moved_ns: how much later.
    """

    def changed(table: pa.Table, batch: str) -> pa.Table:
        names = table.schema.names
        columns = {name: table[name] for name in names}
        process = [mark + text[len(mark) :] for text in table["process"].combine_chunks().dictionary.to_pylist()]
        old = table["process"].combine_chunks()
        columns["process"] = pa.DictionaryArray.from_arrays(old.indices, pa.array(process))
        for name, value in (("host", host), ("batch", batch)):
            zeros = pa.array(np.zeros(len(table), np.int32))
            columns[name] = pa.DictionaryArray.from_arrays(zeros, pa.array([value]))
        for name in {"time", "begin", "end"} & set(names):
            moved = table[name].combine_chunks().view(pa.int64()).to_numpy() + moved_ns // 1000
            columns[name] = pa.array(moved).view(pa.timestamp("us", "UTC"))
        for name in {"begin_ns", "end_ns"} & set(names):
            columns[name] = pa.array(table[name].to_numpy() + moved_ns)
        if "attributes" in names:
            of_host = r'"host":"[^"]*"'
            columns["attributes"] = pc.replace_substring_regex(table["attributes"], of_host, f'"host":"{host}"')
        return pa.table(columns)

    with into.lock():
        batch = into.new_batch()
        parts: list[Part] = []
        for part in entry.of("events"):
            texts = [field.name for field in schema.EVENTS if pa.types.is_string(field.type)]
            texts = [name for name in texts if name not in schema.PLAIN]
            table = pq.read_table(source.path(part), partitioning=None, read_dictionary=texts)
            parts += write_events(into, batch, changed(table.unify_dictionaries(), batch))
        for part in entry.of("stacks"):
            table = pq.read_table(source.path(part), partitioning=None)
            at = table.schema.get_field_index("batch")
            table = table.set_column(at, "batch", pa.repeat(batch, len(table)))
            parts.append(write_part(into, "stacks", f"stacks/{batch}.parquet", table))
        for part in entry.of("segments"):
            table = pq.read_table(source.path(part), partitioning=None, read_dictionary=["process"])
            table = changed(table.unify_dictionaries(), batch)
            parts.append(write_part(into, "segments", f"segments/{batch}.parquet", table))
        copied = replace(entry, batch=batch, parts=tuple(parts))
        into.commit(copied)
    return copied


def write_sample(store: Path) -> None:
    """The first events as JSON lines without stacks, as a home-made hook would have them, and in SQLite."""
    path = store / "sample.jsonl"
    database = sqlite3.connect(store / "sample.sqlite")
    database.execute("CREATE TABLE events (time TEXT, host TEXT, event TEXT, category TEXT, package TEXT, path TEXT,"
                     " address TEXT, process TEXT, args TEXT)")  # fmt: skip
    rows = []
    with open(path, "w") as file:
        for number, event in enumerate(open_journal(store).events()):
            if number == SAMPLE:
                break
            said = json.loads(event.to_json())
            said.pop("stack", None)
            file.write(json.dumps(said) + "\n")
            fields = said.get("fields", {})
            package = said.get("package", {}).get("name")
            rows.append(
                (
                    *(
                        said["time"],
                        said["host"],
                        said["event"],
                        said["category"],
                        package,
                        str(fields.get("path")),
                    ),
                    *(str(fields.get("address")), said["process"], json.dumps(said.get("args"))),
                )
            )
    database.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    database.commit()


def ask(store: Path, sample: Path) -> None:
    archive = Archive(store)
    total = sum(part.rows for entry in archive.entries() for part in entry.of("events"))
    size = sum(part.bytes for entry in archive.entries() for part in entry.parts)
    print(f"archive: {total:,} events, {size / total:.1f} bytes each, {len(archive.entries())} batches")
    times = [part.end_ns or 0 for entry in archive.entries() for part in entry.of("events")]
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(max(times) / 1e9 + 1))
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(max(times) / 1e9 - 3599))
    hour = ["--since", since, "--until", until]
    database = str(store / "sample.sqlite")

    def sqlite(query: str) -> list[str]:
        return [
            sys.executable,
            "-c",
            f"import sqlite3; print(sqlite3.connect({database!r}).execute({query!r}).fetchall()[:5])",
        ]

    def jq(program: str) -> list[str] | None:
        return ["jq", "-c", program, str(sample)] if shutil.which("jq") else None

    process = pq.read_table(archive.path(archive.entries()[0].of("segments")[0]))["process"][0].as_py()
    questions: list[tuple[str, list[str], list[str] | None, list[str]]] = [
        ("last 100 events of a host", ["log", "-n", "100", "--where", "host = 'copy-1'"],
         ["sh", "-c", f"grep -F '\"host\": ' {sample} | tail -n 100"],
         sqlite("SELECT * FROM events ORDER BY time DESC LIMIT 100")),
        ("last 100 events", ["log", "-n", "100"], ["tail", "-n", "100", str(sample)],
         sqlite("SELECT * FROM events ORDER BY time DESC LIMIT 100")),
        ("one process's tree", ["tree", "--process", process], jq(f'select(.process == "{process}") | .event'),
         sqlite(f"SELECT event, count(*) FROM events WHERE process = '{process}' GROUP BY event")),
        ("who opens /etc/*, one hour", ["who", "opens", "/etc/*", *hour],
         jq('select(.event == "open" and (.fields.path | tostring | startswith("/etc/"))) | .package'),
         sqlite("SELECT package, count(*) FROM events WHERE event = 'open' AND path GLOB '/etc/*' GROUP BY package")),
        ("count by event and hour", ["sql", "SELECT event, time_ns // 3600000000000 AS hour, count(*) FROM events "
                                     "WHERE template IS NULL GROUP BY ALL ORDER BY 3 DESC LIMIT 20"],
         jq(".event"), sqlite("SELECT event, substr(time, 1, 13), count(*) FROM events GROUP BY 1, 2")),
        ("the same by date_trunc", ["sql", "SELECT event, date_trunc('hour', time), count(*) FROM events "
                                    "WHERE template IS NULL GROUP BY ALL ORDER BY 3 DESC LIMIT 20"],
         jq(".event"), sqlite("SELECT event, substr(time, 1, 13), count(*) FROM events GROUP BY 1, 2")),
        ("distinct addresses by package", ["sql", "SELECT package, count(DISTINCT address) FROM events GROUP BY 1"],
         jq("[.package.name, .fields.address]"),
         sqlite("SELECT package, count(DISTINCT address) FROM events GROUP BY 1")),
        ("text in all arguments", ["sql", "SELECT count(*) FROM events WHERE contains(args::VARCHAR, 'passwd')"],
         ["sh", "-c", f"grep -c passwd {sample} | cat"], sqlite("SELECT count(*) FROM events WHERE args LIKE '%passwd%'")),
        ("stats", ["stats"], None, sqlite("SELECT event, count(*) FROM events GROUP BY event")),
    ]  # fmt: skip
    print(f"\n{'':<32}{'seconds':>9}{'of CPU':>8}{'MB':>7}   {f'of {SAMPLE:,}: grep, jq':>24}{'SQLite':>9}")
    for name, words, other, sql in questions:
        seconds, spent, megabytes = run([*COMMAND, "--dir", str(store), *words])
        beside = f"{run(other)[0]:.2f}" if other else "-"
        print(
            f"{name:<32}{seconds:>9.2f}{spent:>8.2f}{megabytes:>7.0f}   {beside:>24}{run(sql)[0]:>9.2f}",
            flush=True,
        )


def start_up(store: Path) -> None:
    """Small commands on a small journal, and on an archive of it."""
    shutil.rmtree(store, ignore_errors=True)
    record(store, 100_000)
    log, once = [*COMMAND, "--dir", str(store), "log", "-n", "20"], [sys.executable, "-c", "pass"]
    before = {"python -c pass": once, "--help": [*COMMAND, "--help"], "log -n 20, of a journal": log}
    spent = {name: run(command, 10)[1] for name, command in before.items()}
    ingest(Journal(store), Archive(store))
    spent["log -n 20, of an archive"] = run(log, 10)[1]
    print()
    for name, seconds in spent.items():
        print(f"{name:<32}{seconds * 1000:>9.0f} ms {seconds / spent['python -c pass']:>7.1f}")


# Small, since the most memory of a process is at least that of whoever started it.
MEASURE = """
import os, sys, time
null = os.open(os.devnull, os.O_RDWR)
begin = time.perf_counter()
quiet = [(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)]
_, status, used = os.wait4(os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet), 0)
print(status, time.perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def run(command: list[str], rounds: int = 2) -> tuple[float, float, float]:
    """Seconds, seconds of processors, and megabytes of a command, the best of some rounds."""
    best: tuple[float, float, float] = (1e9, 1e9, 0)
    for _ in range(rounds):
        words = [sys.executable, "-S", "-c", MEASURE, *command]
        said = subprocess.run(words, capture_output=True, check=True, text=True).stdout
        status, seconds, spent, megabytes = map(float, said.split())
        assert status == 0, command
        best = min(best, (seconds, spent, megabytes), key=lambda one: one[1])
    return best


if __name__ == "__main__":
    main()
