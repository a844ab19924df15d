"""Questions to a bucket of three hosts, two of them really recorded: the answers are those of one directory with all."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pythonaudit import cli
from pythonaudit.archive.address import parse_bucket
from pythonaudit.archive.bucket import Scope
from pythonaudit.archive.cache import Cache
from pythonaudit.archive.fleet import FleetJournal
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.objects import Bucket
from pythonaudit.errors import UsageError
from pythonaudit.export.targets.s3 import BucketTarget
from tests.archives import DAY_NS, move
from tests.buckets import Store, bucket, target, variables
from tests.conftest import Installed
from tests.journal_writer import BEGIN_NS
from tests.retained import put

SHOP = """
import sys, json, subprocess, os
sys.audit("shop.order.paid", {"order": 7, "amount": 12.5})
open("/etc/hostname").close()
os.system("true")
"""
LOGIN = """
import sys, socket
sys.audit("User logged in: username=johndoe, ip=192.168.0.1")
socket.socket().close()
open("/etc/passwd").close()
"""


@dataclass(frozen=True)
class Fleet:
    """A bucket, and a directory that has the same."""

    address: str
    all: Path


def merge(source: Path, into: Path) -> None:
    for path in (source / "journal").rglob("*.pyaudit"):
        place = into / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


@pytest.fixture(scope="module")
def fleet(object_store: Store, installed_here: Installed, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    everything = tmp_path_factory.mktemp("all")
    address = object_store.new_prefix()
    shared = None
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables(object_store.endpoint).items():
            patch.setenv(name, value)
        for name, make in (("shop-1", SHOP), ("shop-2", LOGIN), ("web-1", None)):
            directory = tmp_path_factory.mktemp(name)
            if make:
                installed_here.record(make, directory=directory, settings={"PYTHONAUDIT_RUN": name})
            for age in () if make else (0, 1, 2):
                put(directory, 100 + age, age, host="web-1", run="nightly", events=4)
            merge(directory, everything)
            move(directory, batch_bytes=1)
            shared = shared or bucket(address)
            assert BucketTarget(shared, name, 300, None).ship(directory).is_done
        move(everything)
    return Fleet(address, everything)


@pytest.fixture
def ask(
    object_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command; its status, and what it prints."""
    for name, value in variables(object_store.endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(place: Path | str, *words: str) -> tuple[int, str, str]:
        status = cli.main(["--dir", str(place), *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def unordered(text: str) -> list[str]:
    """Lines, without what names a batch."""
    return sorted(re.sub(r"[0-9a-f]{16}-[0-9a-f]{8}", "BATCH", text).splitlines())


@pytest.mark.parametrize(
    "words",
    [
        ["log", "--format", "jsonl"],
        ["log", "-n", "7", "--format", "jsonl"],
        ["log", "--event", "User logged in*", "--format", "jsonl"],
        ["log", "--where", "host = 'web-1' AND pid > 1", "--format", "jsonl"],
        ["log", "--run", "last", "--format", "csv"],
        ["stats", "--format", "jsonl"],
        ["stats", "--host", "web-*", "--format", "jsonl"],
        ["stats", "--since", "2026-11-21", "--format", "jsonl"],
        ["who", "opens", "--format", "jsonl"],
        ["tree", "--format", "jsonl"],
        ["stacks", "--event", "open"],
        ["diff", "shop-1", "shop-2", "--format", "jsonl"],
        ["sql", "--format", "jsonl", "SELECT host, event, count(*) AS n FROM events GROUP BY ALL ORDER BY ALL"],
        ["sql", "--format", "jsonl", "SELECT process, events, attributes FROM processes ORDER BY ALL"],
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_the_same_as_of_a_directory(
    fleet: Fleet, ask: Callable[..., tuple[int, str, str]], words: list[str]
) -> None:
    here, there = ask(fleet.all, *words), ask(fleet.address, *words)
    assert unordered(there[1]) == unordered(here[1]) != []
    assert (there[0], there[2]) == (here[0], here[2]) == (0, "")
    if words[0] in ("log", "tree"):
        assert there[1] == here[1]


@pytest.mark.parametrize(
    ("words", "processes"),
    [
        (["--host", "web-1"], {100, 101, 102}),
        (["--host", "web-?", "--since", "2026-11-21T15:00:00Z"], {100}),
        (["--until", "2026-11-21T00:00:00Z"], {102}),
        (["--process", f"{101:032x}"], {101}),
        (["--process", f"{101:032x}"[:31]], {100, 101, 102}),
        (["--host", "w*", "--since", "2026-11-21", "--until", "2026-11-22"], {101}),
        (["--host", "nowhere"], set()),
    ],
)
def test_what_is_asked_for(
    fleet: Fleet, ask: Callable[..., tuple[int, str, str]], words: list[str], processes: set[int]
) -> None:
    for place in (fleet.address, fleet.all):
        status, out, err = ask(place, "log", "--format", "jsonl", *words)
        assert status == 0
        assert {int(json.loads(line)["process"], 16) for line in out.splitlines()} == processes
        assert err == ("" if processes else f"pythonaudit: no event matches in {place}\n")


def test_no_more_is_read_than_needed(fleet: Fleet, object_store: Store, ask: object, tmp_path: Path) -> None:
    """One host and one day: its list, its entries, its parts; and nothing twice."""

    def count(scope: Scope) -> tuple[int, int]:
        reading = Bucket(parse_bucket(fleet.address))
        journal = FleetJournal(reading, scope, Cache(tmp_path / "parts"))
        events = sum(1 for _ in journal.events())
        return events, reading.bytes_read

    day = Scope(BEGIN_NS - DAY_NS, BEGIN_NS - DAY_NS + 3_600_000_000_000, ("web-1",))
    entries = Archive(fleet.all)
    assert entries.entries()
    events, read = count(day)
    mine = {key: len(body) for key, body in object_store.keys(fleet.address).items() if "day=2026-11-21" in key}
    assert events == 4
    assert sum(mine.values()) < read < sum(mine.values()) * 4  # its entry, segments and stacks as well
    assert read < sum(map(len, object_store.keys(fleet.address).values())) / 4
    again, entry = count(day)
    assert again == 4 and entry < 2000  # parts are here by now


def test_a_part_that_is_not_what_it_should_be(
    fleet: Fleet, object_store: Store, ask: Callable[..., tuple[int, str, str]]
) -> None:
    """It is left out and said; nothing of it is read."""
    address = object_store.new_prefix()
    object_store.fill(address, object_store.keys(fleet.address))
    keys = sorted(key for key in object_store.keys(address) if key.startswith("parts/web-1/events"))
    object_store.delete(address, keys[0])
    other = object_store.keys(address)[keys[1]]
    object_store.put(address, keys[2], other)
    for words in (["log", "--format", "jsonl"], ["sql", "SELECT id FROM events", "--format", "jsonl"]):
        _, out, err = ask(address, *words, "--host", "web-1")
        assert len(out.splitlines()) == 4
        if words[0] == "log":
            assert f"{address}/{keys[0]}: " in err and "not there" in err
            assert f"{address}/{keys[2]}: " in err and "its SHA-256 is not that of the manifest" in err


def test_what_was_put_together_twice_is_seen_once(
    object_store: Store, ask: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """What was between two compactions was never sent, and nothing there says what replaced what."""
    from pythonaudit.archive.compact import compact

    address = object_store.new_prefix()
    put(tmp_path, 1, 0)
    move(tmp_path)
    target(address, name="web-1").ship(tmp_path)
    for process in (2, 3):
        put(tmp_path, process, 0)
        move(tmp_path)
        compact(Archive(tmp_path))
    target(address, name="web-1").ship(tmp_path)
    assert sum(key.startswith("manifest/") for key in object_store.keys(address)) == 2
    for words in (["log"], ["sql", "SELECT id FROM events"], ["sql", "SELECT event FROM events"]):
        assert len(ask(address, *words, "--format", "jsonl")[1].splitlines()) == 9


def test_earlier_segments_are_not_missing(
    object_store: Store, ask: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    address = object_store.new_prefix()
    for sequence in range(4):
        put(tmp_path, 1, 3 - sequence, sequence=sequence, host="web-1")
        move(tmp_path)
    target(address, name="web-1").ship(tmp_path)
    later = ["--since", "2026-11-21T12:00:00Z"]
    assert "missing-segments" not in ask(address, "stats", "--format", "jsonl", *later)[1]
    keys = sorted(key for key in object_store.keys(address) if key.startswith("manifest/"))
    object_store.delete(address, keys[1])
    assert "missing-segments" in ask(address, "stats", "--format", "jsonl")[1]
    assert "missing-segments" not in ask(address, "stats", "--format", "jsonl", *later)[1]


def test_the_variable(
    fleet: Fleet, ask: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONAUDIT_DIR", fleet.address)
    assert cli.main(["sql", "SELECT 1"]) == 0


def test_following(fleet: Fleet, ask: Callable[..., tuple[int, str, str]]) -> None:
    complaint = f"pythonaudit: {fleet.address}: nobody records into a bucket; --follow is for a directory\n"
    assert ask(fleet.address, "log", "-f") == (2, "", complaint)


def test_more_than_can_be_kept(
    fleet: Fleet, ask: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cache.__init__, "__defaults__", (20_000,))
    status, out, err = ask(fleet.address, "log")
    assert (status, out) == (3, "")
    assert err.startswith("pythonaudit: what is asked comes to more than") and "--host" in err


def test_no_place_for_parts(
    fleet: Fleet, ask: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    status, _, err = ask(fleet.address, "log")
    assert status == 3 and "set XDG_CACHE_HOME" in err


def test_the_host_is_shown(fleet: Fleet, ask: Callable[..., tuple[int, str, str]]) -> None:
    """Processes of many hosts are told apart: `web-1 app.py[123]`."""
    _, out, _ = ask(fleet.address, "log", "--host", "web-1")
    assert {line.split()[1] for line in out.splitlines()} == {"web-1"}
    _, out, _ = ask(fleet.all, "log", "--host", "web-1")
    assert {line.split()[1] for line in out.splitlines()} == {"app.py[123]"}


def test_a_moment_that_is_none(fleet: Fleet, ask: Callable[..., tuple[int, str, str]]) -> None:
    status, _, err = ask(fleet.address, "sql", "SELECT 1", "--since", "soon")
    assert status == UsageError.exit_status and "--since" in err
