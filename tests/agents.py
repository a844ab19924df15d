"""Agents that run, and whether what they left agrees: the log, the archive, and the journal.

with running(directory) as agent:
    until(lambda: sealed(directory) >= 100)
check(directory)                                # ended in order
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pythonaudit.agent.presence import read_status
from pythonaudit.archive import leaves
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.parts import read_part
from pythonaudit.integrity import merkle, notes
from pythonaudit.integrity.log import Log, parse_record
from pythonaudit.journal.reader import Journal
from tests.commands import COMMAND, environment, run

SECONDS = 120

Key = tuple[str, int, int]
Numbers = set[tuple[int, int]]  # slot and number


def until(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Waits until it is true; gives what it said."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def start(
    directory: Path, *words: str, env: Mapping[str, str] | None = None, before: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """Starts an agent, and waits until it works."""
    command = [*before, *COMMAND, "--dir", str(directory), "agent", *words]
    process = subprocess.Popen(
        command, env=env or environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )
    until(lambda: process.poll() is not None or read_status(directory).get("pid") == process.pid)
    return process


def stop(process: subprocess.Popen[str]) -> str:
    """Ends an agent in order; what it said."""
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (0, ""), said
    return said


@contextmanager
def running(directory: Path, *words: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """An agent that ends in order."""
    process = start(directory, *words, **options)
    try:
        assert process.poll() is None, process.communicate()
        yield process
        stop(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server on loopback, one request after the other; its address."""
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def begin(directory: Path) -> str:
    """Makes keys; the first one."""
    done = run(directory, "keys", "init")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def records(directory: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """What the log has by now."""
    found = (parse_record(line) for line in Log(directory).lines())
    return [record for record in found if kind in (None, record["record"])]


def sealed(directory: Path) -> int:
    """How many events are sealed and covered by a checkpoint."""
    note = Log(directory).read_checkpoint()
    size = int(note.split("\n")[1]) if note else 0
    return sum(record.get("events", 0) for record in records(directory)[:size] if record["record"] == "events")


def figures(directory: Path) -> dict[str, Any]:
    """What the agent said of itself last."""
    found: dict[str, Any] = read_status(directory).get("figures", {})
    return found


def check(directory: Path, honest: Callable[[int], bool] = lambda uid: True) -> dict[str, int]:
    """Fails unless all that is sealed is there as it was, once, and all that is archived is sealed.

    Args:
        directory: where no agent runs.
        honest: which users' events are looked at.

    Returns:
        How many events of these are archived, and how many of those that are sealed have gone.
    """
    lines = list(Log(directory).lines())
    _check_checkpoint(directory, lines)
    runs: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    closed: dict[Key, dict[str, Any]] = {}
    gone: dict[Key, int] = {}
    previous: dict[tuple[str, int], str] = {}
    voided = {record["batch"] for record in map(parse_record, lines) if record["record"] == "void"}
    for line in lines:
        record = parse_record(line)
        if record["record"] not in ("events", "segment", "gone"):
            continue
        key = record["process"], record["sequence"], record["uid"]
        owner = record["process"], record["uid"]
        assert record["previous"] == previous.get(owner)
        previous[owner] = merkle.hash_leaf(line).hex()
        if not honest(key[2]):
            continue
        if record["record"] == "events":
            runs[key].append(record)
        elif record["record"] == "gone":
            gone[key] = record["events"]
        elif record["batch"] not in voided:
            assert key not in closed, "archived twice"
            closed[key] = record
    archived = _check_archive(directory, runs, closed, honest)
    _check_journal(directory, runs, closed.keys() | gone.keys())
    return {"archived": archived, "gone": sum(gone.values())}


def _check_checkpoint(directory: Path, lines: list[bytes]) -> None:
    text, _ = notes.split_note(Log(directory).read_checkpoint() or "")
    size, root = notes.parse_checkpoint(text, text.split("\n")[0])
    assert size == len(lines), "not all is covered"
    assert root == merkle.find_root([merkle.hash_leaf(line) for line in lines])


def _check_archive(
    directory: Path,
    runs: Mapping[Key, list[dict[str, Any]]],
    closed: Mapping[Key, dict[str, Any]],
    honest: Callable[[int], bool],
) -> int:
    """Rows of the archive are those that are sealed, and hash to what was sealed; how many there are."""
    archive, found, count = Archive(directory), set(), 0
    for entry in archive.entries():
        stacks = [read_part(archive, part) for part in entry.of("stacks")]
        hashes = leaves.stacks_of(pa.concat_tables(stacks)) if stacks else None
        events = [read_part(archive, part, leaves.COLUMNS) for part in entry.of("events")]
        table = pa.concat_tables(events) if events else None
        for part in entry.of("segments"):
            for row in read_part(archive, part).to_pylist():
                key = row["process"], row["sequence"], row["uid"]
                if not honest(key[2]):
                    continue
                assert key not in found, "in the archive twice"
                found.add(key)
                assert closed[key]["row"] == leaves.hash_row(row)
                assert closed[key]["events"] == row["events"]
                count += row["events"]
                if row["events"]:
                    assert table is not None and hashes is not None
                    mine = pc.and_(pc.equal(table["process"], key[0]), pc.equal(table["sequence"], key[1]))
                    mine = pc.and_(mine, pc.equal(table["uid"], key[2]))
                    _check_events(leaves.of_table(table.filter(mine), hashes), runs[key])
    assert archive.problems() == []
    assert found == set(closed)
    return count


def _check_journal(directory: Path, runs: Mapping[Key, list[dict[str, Any]]], done: set[Key]) -> None:
    journal = Journal(directory)
    heads = {head.key: head for head in journal.heads()} if (directory / "journal").is_dir() else {}
    for key, said in runs.items():
        if key not in done:
            decoder = journal.load(heads[key])
            assert decoder is not None
            _check_events(leaves.of_segment(decoder), said, is_whole=False)


def _check_events(found: leaves.Leaves, said: list[dict[str, Any]], is_whole: bool = True) -> None:
    """Events are sealed once each, as they are."""
    by_number = dict(zip(zip(found.slot.tolist(), found.number.tolist(), strict=True), found.hashes, strict=True))
    assert len(by_number) == len(found.hashes), "an event is there twice"
    seen: Numbers = set()
    for record in said:
        numbers = [
            (slot, number) for slot, first, count in record["runs"] for number in range(first, first + count)
        ]
        assert len(numbers) == record["events"]
        assert seen.isdisjoint(numbers), "sealed twice"
        seen.update(numbers)
        assert merkle.find_root([by_number[one] for one in numbers]).hex() == record["root"]
    assert not is_whole or seen == by_number.keys()


def told(directory: Path, name: str = "app.event") -> dict[str, list[int]]:
    """The first argument of each event of a name, in its order, by process: of archive and journal."""
    done = run(directory, "log", "--event", name, "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    found: dict[str, list[int]] = defaultdict(list)
    for line in done.stdout.splitlines():
        event = json.loads(line)
        found[event["process"]].append(event["args"][0])
    return dict(found)
