"""Values that no option takes: each query command ends with 2, and its one line says what was nearest."""

from __future__ import annotations

import argparse
import io
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from pythonaudit import cli
from pythonaudit.cli import filters
from tests.journal_writer import BEGIN_NS, SegmentWriter

#: Each with what else it needs.
COMMANDS = {
    "log": ["log"],
    "stats": ["stats"],
    "stats --by": ["stats", "--by", "event"],
    "who": ["who", "opens"],
    "tree": ["tree"],
    "stacks": ["stacks"],
    "diff": ["diff", "..2026-11-22T14:31:00Z", "2026-11-22T14:31:00Z.."],
}

MOMENTS = "write 2026-11-22T14:30:00Z, 2026-11-22, 15m, 2d or today"
PID = "it takes the number of a process, such as 4711"
#: Of every command.
FILTERS: list[tuple[str, str, str]] = [
    ("--category", "fiel", "did you mean 'file'?"),
    ("--category", "FILE", "did you mean 'file'?"),
    ("--category", "", "'application', 'code-execution', "),
    ("--source", "aplication", "did you mean 'application'?"),
    ("--source", "x", "'interpreter', 'stdlib', 'application'"),
    ("--since", "yesterdya", MOMENTS),
    ("--since", "15 m", MOMENTS),
    ("--since", "", MOMENTS),
    ("--since", "2026-13-45", "month must be in 1..12"),
    ("--since", "999999999w", "not in the years 1 to 9999"),
    ("--until", "9999-12-31T23:59:59-01:00", "not in the years 1 to 9999"),
    ("--until", "tomorow", MOMENTS),
    ("--run", "nightyl", "did you mean 'nightly'?"),
    ("--run", "", "the last are 'later', 'nightly'"),
    ("--process", "xyz", "write hexadecimal digits"),
    ("--process", "f" * 33, "write hexadecimal digits"),
    ("--process", "", "write hexadecimal digits"),
    ("--pid", "abc", PID),
    ("--pid", "-5", PID),
    ("--pid", "1.5", PID),
    ("--pid", "", PID),
    ("--context", "user", "such as user=john*"),
    ("--context", "=john", "such as user=john*"),
    ("--context", "", "such as user=john*"),
    ("--where", "evnt = 1", '"event"'),
    ("--where", "event =", "; columns: time, event, "),
    ("--where", "", "; columns: time, event, "),
    ("--where", "  ", "; columns: time, event, "),
    ("--where", "1; 2", "syntax error"),
    ("--where", "nosuch(event)", "nosuch"),
    ("--where", "(1, 2)", "--where: "),
    ("--where", "event::INTEGER = 1", "--where: "),
    ("--format", "", "choose from "),
]
#: Of some.
OTHERS: list[tuple[list[str], str]] = [
    (["log", "--format", "jsnl"], "did you mean 'jsonl'?"),
    (["stats", "--format", "jsnl"], "did you mean 'jsonl'?"),
    (["who", "opens", "--format", "parqet"], "did you mean 'parquet'?"),
    (["tree", "--format", "jsnl"], "did you mean 'jsonl'?"),
    (["stacks", "--format", "speedscpe"], "did you mean 'speedscope'?"),
    (["diff", "nightly", "later", "--format", "markdwn"], "did you mean 'markdown'?"),
    (["sql", "SELECT 1", "--format", "arow"], "did you mean 'arrow'?"),
    (["stats", "--by", "evnt"], "did you mean 'event'?"),
    (["stacks", "--by", "pakage"], "did you mean 'package'?"),
    (["who", "opnes"], "did you mean 'opens'?"),
    (["diff", "nightyl", "later"], "did you mean 'nightly'?"),
    (["diff", "nightly", "last~7"], "2 runs are recorded"),
    (["sql", "SELECT evnt FROM events"], '"event"'),
    (["sql", "SELECT * FROM evnts"], "events"),
    (["sql", "SELCT 1"], "syntax error"),
    (["sql", ""], "takes one SELECT"),
    (["sql", "SELECT event::INTEGER FROM events"], "sql: "),
    *(
        ([*COMMANDS[command], "-n", value], "it takes a whole number from 0 on, such as 10")
        for command in ("log", "stats", "diff")
        for value in ("x", "-1", "", "1.5", "½", "٣")
    ),
]


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("trail")
    for number, run in enumerate(("nightly", "later")):
        writer = SegmentWriter(
            process=bytes([number]) * 16, begin_ns=BEGIN_NS + number, attributes={"argv": ["a.py"], "run": run}
        )
        thread = writer.thread()
        thread.event("open", ["/etc/passwd", "r", 0])
        writer.save(directory)
    return directory


def refusal(trail: Path, *words: str) -> str:
    """What it says, where it is wrong usage."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = cli.main(["--dir", str(trail), *words])
    out.flush()
    said = err.getvalue()
    assert (status, out.buffer.getvalue(), said.count("\n")) == (2, b"", 1), said  # type: ignore[attr-defined]
    assert said.startswith("pythonaudit: ")
    return said


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("option", "value", "nearest"), FILTERS)
def test_filters(trail: Path, command: str, option: str, value: str, nearest: str) -> None:
    said = refusal(trail, *COMMANDS[command], f"{option}={value}")
    assert option in said and nearest in said


@pytest.mark.parametrize(("words", "nearest"), OTHERS, ids=lambda value: " ".join(value)[:40])
def test_others(trail: Path, words: list[str], nearest: str) -> None:
    assert nearest in refusal(trail, *words)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--event", "--path", "--package", "--host", "--text", "--context", "--where"])
def test_bytes_that_are_no_text(trail: Path, command: str, option: str) -> None:
    """They end in no traceback, whatever they find."""
    values = {"--context": "key={}", "--where": "path = '{}' AND args IS NOT NULL"}
    value = os.fsdecode(values.get(option, "*{}").encode().replace(b"{}", b"/srv/\xff"))
    assert cli.main(["--dir", str(trail), *COMMANDS[command], f"{option}={value}"]) == 0


def test_every_filter_is_tried() -> None:
    """Globs and texts take anything: they cannot be wrong."""
    parser = argparse.ArgumentParser()
    filters.add_arguments(parser)
    options = {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}
    anything = {"--event", "--path", "--package", "--host", "--text"}
    assert options == {option for option, *_ in FILTERS} - {"--format"} | anything
