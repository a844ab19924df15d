"""`pythonaudit stats`: what was recorded, what was only counted, and every loss."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pythonaudit import cli
from pythonaudit.journal import layout
from tests import commands
from tests.conftest import Installed
from tests.journal_writer import BEGIN_NS, SegmentWriter

SECOND = 1_000_000_000
ONE, OTHER = bytes(range(0x10, 0x20)), bytes(range(0xA0, 0xB0))


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two processes, one of which lost something."""
    directory = tmp_path_factory.mktemp("trail")
    attributes = {"python": "3.11.7", "exe": "/usr/bin/python3", "argv": ["/srv/app.py"], "run": "first"}
    writer = SegmentWriter(process=ONE, attributes=attributes)
    thread = writer.thread()
    for number in range(3):
        thread.event("open", [f"/srv/{number}", "r", 0])
        thread.event(f"User logged in: username=u{number}", source=layout.SOURCE_APPLICATION)
        writer.ticks += SECOND
    thread.context({"user": "john"})
    thread.event("open", ["/srv/x", "r", 0], source=layout.SOURCE_APPLICATION)
    thread.count("builtins.id", 12345)
    thread.count("sync: shard=1", 7, layout.SOURCE_APPLICATION)
    writer.losses[0] = 5
    writer.losses[6] = 1
    writer.save(directory)
    later = BEGIN_NS + 100 * SECOND
    other = SegmentWriter(process=OTHER, begin_ns=later, pid=77, attributes=attributes | {"run": "second"})
    thread = other.thread()
    thread.event("import", ["json", None, None, None, None])
    thread.count("builtins.id", 5)
    other.save(directory)
    return directory


def rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """What is printed, but how often earlier tests have read."""
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [row for row in found if row.get("kind") != "reading"]


def test_rows_for_programs(trail: Path) -> None:
    at = ["2026-11-22T14:30:33.123456789Z", "2026-11-22T14:30:35.123456789Z", "2026-11-22T14:30:36.123456789Z"]
    later = "2026-11-22T14:32:13.123456789Z"
    opened = {"event": "open", "category": "file"}
    login = {"template": "User logged in: username=*", "category": "application", "source": "application"}
    first = {"pid": 123, "name": "app.py", "run": "first"}
    expected = [
        {"kind": "event", "event": "builtins.id", "category": "introspection", "source": "interpreter"}
        | {"recorded": 0, "counted": 12350},
        {"kind": "event", "template": "sync: shard=*", "category": "application", "source": "application"}
        | {"recorded": 0, "counted": 7},
        {"kind": "event"} | login | {"recorded": 3, "counted": 0, "first": at[0], "last": at[1]},
        {"kind": "event"} | opened | {"source": "interpreter"}
        | {"recorded": 3, "counted": 0, "first": at[0], "last": at[1]},
        {"kind": "event", "event": "import", "category": "import", "source": "interpreter"}
        | {"recorded": 1, "counted": 0, "first": later, "last": later},
        {"kind": "event"} | opened | {"source": "application"}
        | {"recorded": 1, "counted": 0, "first": at[2], "last": at[2]},
        {"kind": "category", "category": "introspection", "recorded": 0, "counted": 12350},
        {"kind": "category", "category": "application"}
        | {"recorded": 3, "counted": 7, "first": at[0], "last": at[1]},
        {"kind": "category", "category": "file", "recorded": 4, "counted": 0, "first": at[0], "last": at[2]},
        {"kind": "category", "category": "import", "recorded": 1, "counted": 0, "first": later, "last": later},
        {"kind": "source", "source": "interpreter", "recorded": 4, "counted": 12350}
        | {"first": at[0], "last": later},
        {"kind": "source", "source": "application", "recorded": 4, "counted": 7, "first": at[0], "last": at[2]},
        {"kind": "process", "process": ONE.hex()} | first
        | {"recorded": 7, "counted": 12352, "first": at[0], "last": at[2]},
        {"kind": "process", "process": OTHER.hex()} | first | {"pid": 77, "run": "second"}
        | {"recorded": 1, "counted": 5, "first": later, "last": later},
        {"time": at[2], "process": ONE.hex(), "reason": "no-space", "count": 5},
        {"time": at[2], "process": ONE.hex(), "reason": "unrecorded-child", "count": 1},
    ]  # fmt: skip
    assert rows(commands.run(trail, "stats", "--format", "jsonl")) == expected


def test_a_table_for_people(trail: Path) -> None:
    done = commands.run(trail, "stats")
    assert (done.returncode, done.stderr) == (0, "")
    text = re.sub(r"Besides, \d+ process(es)? ha(s|ve) only read it: --event pythonaudit.read\n", "", done.stdout)
    assert (
        text
        == """\
8 events recorded, 12,357 only counted, in 2 processes
2026-11-22 14:30:33 to 2026-11-22 14:32:13 UTC

event                       category       source       recorded  counted
builtins.id                 introspection  interpreter         0   12,350
sync: shard=*               application    application         0        7
User logged in: username=*  application    application         3        0
open                        file           interpreter         3        0
import                      import         interpreter         1        0
open                        file           application         1        0

category       recorded  counted
introspection         0   12,350
application           3        7
file                  4        0
import                1        0

source       recorded  counted
interpreter         4   12,350
application         4        7

process      run     begun                recorded  counted  lost
app.py[123]  first   2026-11-22 14:30:33         7   12,352     5
app.py[77]   second  2026-11-22 14:32:13         1        5     0

process or file  lost              event  time                 count
app.py[123]      no-space                 2026-11-22 14:30:36      5
app.py[123]      unrecorded-child         2026-11-22 14:30:36      1
"""
    )


def test_only_the_most_frequent_but_every_loss(trail: Path) -> None:
    text = commands.run(trail, "stats", "-n", "1").stdout
    assert "and 5 more; -n N shows N" in text
    assert "builtins.id" in text and "no-space" in text and "unrecorded-child" in text
    assert "import" not in text
    found = rows(commands.run(trail, "stats", "-n", "1", "--format", "jsonl"))
    assert [row.get("kind") for row in found] == ["event", "category", "source", "process", None, None]


def test_csv_has_what_json_has(trail: Path) -> None:
    done = commands.run(trail, "stats", "--format", "csv")
    table = [row for row in csv.DictReader(io.StringIO(done.stdout)) if row["kind"] != "reading"]
    expected = rows(commands.run(trail, "stats", "--format", "jsonl"))
    for row, said in zip(table, expected, strict=True):
        cells = {key: cell for key, cell in row.items() if cell}
        assert cells == {"kind": "loss"} | {key: str(value) for key, value in said.items()}


@pytest.mark.parametrize(
    ("words", "counts"),
    [
        ([], {"open": 4, "builtins.id": 12350}),
        (["--event", "open"], {"open": 4}),
        (["--event", "b*"], {"builtins.id": 12350}),
        (["--category", "file"], {"open": 4}),
        (["--source", "application"], {"open": 1}),
        (["--run", "second"], {"import": 1, "builtins.id": 5}),
        (["--process", "a0a1"], {"import": 1, "builtins.id": 5}),
        (["--until", "2026-11-22T14:31:00Z"], {"open": 4, "builtins.id": 12345}),
        (["--since", "2026-11-22T14:31:00Z"], {"import": 1, "builtins.id": 5}),
        (["--path", "/srv/1"], {"open": 1}),
        (["--context", "user=j*"], {"open": 1}),
        (["--where", "event = 'open' and (args->>'$[0]') = '/srv/1'"], {"open": 1}),
        (["--text", "/SRV/1"], {"open": 1}),
    ],
)  # fmt: skip
def test_filters(trail: Path, words: list[str], counts: dict[str, int]) -> None:
    done = commands.run(trail, "stats", "--format", "jsonl", *words)
    found: dict[str, int] = {}
    for row in rows(done):
        if row.get("kind") == "event" and "event" in row:
            found[row["event"]] = found.get(row["event"], 0) + row["recorded"] + row["counted"]
    assert {name: found.get(name, 0) for name in counts} == counts
    if words:
        assert set(found) == set(counts)


def test_losses_are_those_of_the_processes_asked_for(trail: Path) -> None:
    assert "Nothing was lost." in commands.run(trail, "stats", "--run", "second").stdout


def test_a_source_of_a_later_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = SegmentWriter()
    writer.thread().event("an.event", source=9)
    writer.save(tmp_path)
    for form in ("table", "jsonl"):
        assert cli.main(["--dir", str(tmp_path), "stats", "--format", form]) == 0
        assert "an.event" in capsys.readouterr().out


def test_damage_is_a_loss(tmp_path: Path) -> None:
    writer = SegmentWriter()
    writer.thread().event("open", ["/x", "r", 0])
    path = writer.save(tmp_path)
    path.write_bytes(path.read_bytes()[:-4096])
    said = map(json.loads, commands.run(tmp_path, "stats", "--format", "jsonl").stdout.splitlines())
    (loss,) = [row for row in said if "reason" in row]
    assert (loss["reason"], loss["count"] > 0, loss["file"]) == ("damaged", True, str(path))


def test_what_was_refused_is_named(tmp_path: Path) -> None:
    path = SegmentWriter().save(tmp_path)
    trap = path.with_name("trap.pyaudit")
    trap.symlink_to(path)
    text = commands.run(tmp_path, "stats").stdout
    assert re.search(rf"^{trap}  damaged +\S+ \S+$", text, re.MULTILINE), text


def test_segments_that_have_gone(tmp_path: Path) -> None:
    for process, sequences in ((ONE, (2, 3, 6)), (OTHER, (0, 1))):
        for sequence in sequences:
            writer = SegmentWriter(process=process, sequence=sequence, attributes={"argv": ["a.py"]})
            writer.thread().event("open", ["/x", "r", 0])
            writer.save(tmp_path, state=layout.STATE_ROTATED)
    found = rows(commands.run(tmp_path, "stats", "--format", "jsonl"))
    (loss,) = [row for row in found if "reason" in row]
    assert (loss["process"], loss["reason"], loss["count"]) == (ONE.hex(), "missing-segments", 4)
    text = commands.run(tmp_path, "stats").stdout
    assert "Nothing was lost" not in text
    assert {line.split()[-1] for line in text.splitlines() if line.startswith("a.py[123] ")} == {"0", "4"}


def test_nothing_matches(trail: Path) -> None:
    done = commands.run(trail, "stats", "--event", "nothing like it")
    assert (done.returncode, done.stderr) == (0, f"pythonaudit: no event matches in {trail}\n")
    assert done.stdout.startswith("0 events recorded, 0 only counted, in 0 processes\n")


def test_no_store(tmp_path: Path) -> None:
    done = commands.run(tmp_path / "nowhere", "stats")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)


def test_a_narrow_terminal(trail: Path) -> None:
    text = re.sub(r"\x1b\[[0-9;]*m", "", commands.show(trail, "stats", columns=66).text)
    table = text.splitlines()[2:]
    assert all(len(line) <= 66 for line in table), table
    assert any(re.match(r"User l\S*….*=\*  application", line) for line in table), table


def test_a_real_program(installed: Installed) -> None:
    program = (
        "import sys\nfor n in range(1000): sys.audit(f'order paid: number={n}')\n[id(n) for n in range(5000)]"
    )
    recording = installed.record(program)
    found = rows(commands.run(recording.directory, "stats", "--format", "jsonl"))
    (paid,) = [row for row in found if row.get("template") == "order paid: number=*"]
    assert (paid["recorded"], paid["counted"]) == (1000, 0)
    (counted,) = [row for row in found if row.get("event") == "builtins.id" and row["source"] == "interpreter"]
    assert counted["counted"] >= 5000
    assert not [row for row in found if "reason" in row]
