"""Every command that gives a table gives it as Parquet and as Arrow as well, with what its JSON lines say."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import commands, stores
from tests.journal_writer import BEGIN_NS, SegmentWriter
from tests.unit.query.test_views import documented

BINARY = ("parquet", "arrow")
COMMANDS: dict[str, tuple[str, ...]] = {
    "tree": ("tree",),
    "stats": ("stats",),
    "by": ("stats", "--by", "event"),
    "diff": ("diff", "first", "second"),
    "who": ("who", "opens"),
    "sql": ("sql", "SELECT event, count(*) AS n, max(time) AS last FROM events GROUP BY event ORDER BY event"),
}


def read(data: bytes, form: str) -> pa.Table:
    return pq.read_table(io.BytesIO(data)) if form == "parquet" else pa.ipc.open_stream(data).read_all()


def run(store: Path, *words: str) -> bytes:
    command = [*commands.COMMAND, "--dir", str(store), *words]
    done = subprocess.run(command, env=commands.environment(), capture_output=True, check=True)
    return done.stdout


def said(store: Path, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(store, *words, "--format", "jsonl").splitlines()]


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as JSON has them: moments as text, nothing that is null."""
    for at, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            digits = 9 if field.type.unit == "ns" else 6
            texts = [moment and f"{moment}" for moment in table[field.name].cast(pa.string()).to_pylist()]
            assert all(text is None or text.endswith("Z") for text in texts)
            shown = [text and f"{text[:10]}T{text[11:-1]:0<{9 + digits}}Z" for text in texts]
            table = table.set_column(at, field.name, [shown])
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs at the same time, whose events lie between each other; one of them is archived."""
    writers = []
    for number, name in enumerate(("first", "second")):
        attributes = {
            "run": name,
            "argv": ["app.py", "-v"],
            "exe": "/usr/bin/python3",
            "python": "3.12.1",
            "cwd": "/srv",
        }
        writer = SegmentWriter(
            process=bytes([number + 1]) * 16, pid=number + 7, begin_ns=BEGIN_NS + number, attributes=attributes
        )
        writer.losses[0] = number
        thread = writer.thread()
        for line in range(30):
            writer.ticks += 7_000
            thread.event(
                "open", [f"data/../{number}", "r", 0], stack=[("app.py", line + 1, "f"), ("app.py", 1, "g")]
            )
            thread.event(f"order={line}, user='=1'", [{"n": line}], notes=2)
        thread.event("subprocess.Popen", ["/bin/ls", ["ls", "-l"], None, None])
        thread.count("builtins.id", 9)
        writers.append(writer)
    directory = stores.save(tmp_path_factory.mktemp("store"), writers, "both")
    (directory / "config.toml").write_text("[access]\nrecord = false\n")
    run(directory, "stats")  # the first reading says that from here on none is recorded
    return directory


@pytest.mark.parametrize("form", BINARY)
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_rows_are_those_of_the_json_lines(store: Path, words: tuple[str, ...], form: str) -> None:
    expected = said(store, *words)
    if words == ("stats",):
        expected = [{"kind": "loss"} | row for row in expected]
    found = read(run(store, *words, "--format", form), form)
    assert rows_of(found) == expected and len(expected) > 1
    titles = next(csv.reader(io.StringIO(run(store, *words, "--format", "csv").decode())))
    assert titles == found.schema.names


@pytest.mark.parametrize("form", BINARY)
@pytest.mark.parametrize(
    "words", [(), ("-n", "7"), ("--where", "line > 20", "--run", "last"), ("--event", "none")], ids=repr
)
def test_events_have_the_columns_of_the_view(store: Path, form: str, words: tuple[str, ...]) -> None:
    expected = said(store, "log", *words)
    table = read(run(store, "log", *words, "--format", form), form)
    assert table.schema.names == [name for name, _ in documented()["events"]]
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == [event["id"] for event in expected]
    for row, event in zip(rows, expected, strict=True):
        assert event["time"] == f"{row['time']:%Y-%m-%dT%H:%M:%S}.{row['time_ns'] % 10**9:09}Z"
        for name in ("args", "fields", "argv", "stack", "context"):
            assert json.loads(row[name] or "null") == event.get(name)
        for name in (
            "event",
            "template",
            "category",
            "source",
            "run",
            "python",
            "exe",
            "cwd",
            "pid",
            "uid",
            "notes",
        ):
            assert row[name] == event.get(name)
        frame = event.get("stack", [{}])[0]
        assert [row[name] for name in ("file", "line", "function")] == [
            frame.get(n) for n in ("file", "line", "function")
        ]
        if event["event"] == "open":
            assert (row["path"], row["full_path"]) == (event["fields"]["path"], f"/srv/{event['pid'] - 7}")


def test_stacks_are_found_by_batch_and_number(store: Path) -> None:
    """As in `sql`: the rows of both refer to the same rows of `stacks`."""
    events = read(run(store, "log", "--format", "arrow"), "arrow")
    query = "SELECT batch, stack_id, id FROM events WHERE stack_id IS NOT NULL"
    expected = {(row["batch"], row["stack_id"], row["id"]) for row in said(store, "sql", query)}
    found = zip(*(events[name].to_pylist() for name in ("batch", "stack_id", "id")), strict=True)
    assert {one for one in found if one[1] is not None} == expected


@pytest.mark.parametrize("form", BINARY)
@pytest.mark.parametrize("words", [("log",), *COMMANDS.values(), ("bench",)], ids=["log", *COMMANDS, "bench"])
def test_bytes_do_not_go_to_a_terminal(words: tuple[str, ...], form: str, tmp_path: Path) -> None:
    shown = commands.show(tmp_path, *words, "--format", form)
    line = f"pythonaudit: --format {form} writes bytes; send them to a file: ... > result.{form}\n"
    assert (shown.status, shown.text) == (2, line)


def test_bytes_are_not_followed(tmp_path: Path) -> None:
    done = commands.run(tmp_path, "log", "-f", "--format", "arrow")
    line = "pythonaudit: --format arrow and --follow do not go together; follow with jsonl\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
