"""`file:PATH`: events are on the disk when they are said to be, whole, once, and nowhere else."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pythonaudit.errors import UsageError
from pythonaudit.export.formats import LINES, find_format
from pythonaudit.export.targets import Misconfigured, Target, Unavailable, open_target, parse_address
from pythonaudit.journal.decode import Event
from tests.conftest import ROOT
from tests.exported import recorded

EVENTS = recorded()


def opened(text: str) -> Target:
    target = open_target(parse_address(text))
    assert not hasattr(target, "ship")
    return target  # type: ignore[return-value]


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]


def of(events: Sequence[Event]) -> list[str]:
    return [event.id for event in events]


@pytest.mark.parametrize("name", LINES)
def test_what_was_sent_is_there(name: str, tmp_path: Path) -> None:
    path, form = tmp_path / "out", find_format(name)
    target = opened(f"file:{path}?format={name}")
    assert target.send(EVENTS[:20]) == (0, "")
    assert path.read_bytes() == form.header + b"".join(map(form.line, EVENTS[:20]))
    target.send(EVENTS[20:40])
    target.close()
    again = opened(f"file://{path}?format={name}")
    again.send(EVENTS[40:50])
    again.close()
    assert path.read_bytes() == form.header + b"".join(map(form.line, EVENTS[:50]))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_on_the_disk_when_it_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "out", []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (synced.append((os.fstat(fd).st_ino, os.fstat(fd).st_size)), real(fd))
    )
    target = opened(f"file:{path}")
    target.send(EVENTS[:3])
    state = path.stat()
    assert (state.st_ino, state.st_size) in synced
    assert tmp_path.stat().st_ino in [inode for inode, _ in synced]  # the name as well
    target.close()


def test_a_name_may_have_any_letter(tmp_path: Path) -> None:
    target = opened(f"file:{tmp_path}/a%20b%23c%3f.jsonl")
    target.send(EVENTS[:1])
    target.close()
    assert ids(tmp_path / "a b#c?.jsonl") == of(EVENTS[:1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file:/tmp/x?format=xml", "one of jsonl, ecs, ocsf, cef, csv, parquet"),
        ("file:/tmp/x?rotate=5", "a size such as 500KiB"),
        ("file:/tmp/x?rotate=0MiB", "a size such as"),
        ("file:/tmp/x?keep=3", "keep goes with rotate"),
        ("file:/tmp/x?rotate=1MiB&keep=0", "a number from 1 on"),
        ("file:/tmp/x?format=parquet&rotate=1MiB", "is not rotated"),
        ("file:/tmp/x?colour=red", "no option colour"),
        ("file:/tmp/x#1", "what follows # would be lost"),
        ("file://web-1/tmp/x", "a file is on this machine"),
        ("file:", "no path"),
        ("file:/tmp/", "no path"),
    ],
)
def test_wrong_usage_is_told(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        opened(text)


def test_it_is_rotated_by_size(tmp_path: Path) -> None:
    path = tmp_path / "out"
    target = opened(f"file:{path}?rotate=20KiB&keep=3")
    for begin in range(0, 120, 30):
        target.send(EVENTS[begin : begin + 30])
    target.close()
    names = sorted(os.listdir(tmp_path))
    assert names == ["out", "out.1", "out.2", "out.3"]
    assert all(os.path.getsize(tmp_path / name) <= 20 << 10 for name in names)
    kept = [found for name in ("out.3", "out.2", "out.1", "out") for found in ids(tmp_path / name)]
    assert kept == of(EVENTS[120 - len(kept) : 120])


def test_nothing_is_removed_unless_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    (tmp_path / "out.csv.07").write_text("of somebody else")
    target = opened(f"file:{path}?format=csv&rotate=8KiB")
    target.send(EVENTS[:100])
    target.close()
    count = len(os.listdir(tmp_path)) - 2
    assert count > 5 and (tmp_path / "out.csv.07").exists()
    header = find_format("csv").header
    files = [tmp_path / f"out.csv.{number}" for number in range(count, 0, -1)] + [path]
    texts = [file.read_bytes() for file in files]
    assert all(text.startswith(header) for text in texts)
    assert b"".join(text.removeprefix(header) for text in texts) == b"".join(
        map(find_format("csv").line, EVENTS[:100])
    )


def test_an_event_that_is_larger_than_the_limit_has_a_file_of_its_own(tmp_path: Path) -> None:
    largest = max(EVENTS, key=lambda event: len(event.to_json()))
    assert len(largest.to_json()) > 1 << 10
    target = opened(f"file:{tmp_path / 'out'}?rotate=1KiB")
    target.send([largest, largest])
    target.close()
    assert ids(tmp_path / "out") == ids(tmp_path / "out.1") == [largest.id]


def test_a_rotation_that_was_cut_off_loses_nothing(tmp_path: Path) -> None:
    """It had moved 1 to 2 when the machine went down."""
    path = tmp_path / "out"
    target = opened(f"file:{path}?rotate=1KiB")
    target.send(EVENTS[:1])
    target.close()
    (tmp_path / "out.2").write_text("older\n")
    target = opened(f"file:{path}?rotate=1KiB")
    target.send(EVENTS[1:3])
    target.close()
    found = sorted(os.listdir(tmp_path))
    assert (tmp_path / found[-1]).read_text() == "older\n"
    assert sorted(i for name in found[:-1] for i in ids(tmp_path / name)) == sorted(of(EVENTS[:3]))


@pytest.mark.parametrize("how", ["renamed", "removed", "truncated"])
def test_somebody_else_rotates(how: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    target = opened(f"file:{path}")
    target.send(EVENTS[:5])
    if how == "renamed":
        path.rename(tmp_path / "out-20261122")
    elif how == "removed":
        path.unlink()
    else:
        os.truncate(path, 0)
    target.send(EVENTS[5:9])
    target.close()
    assert ids(path) == of(EVENTS[5:9])
    if how == "renamed":
        assert ids(tmp_path / "out-20261122") == of(EVENTS[:5])


@pytest.mark.parametrize("name", LINES)
def test_half_a_line_is_cut_off(name: str, tmp_path: Path) -> None:
    form = find_format(name)
    path = tmp_path / "out"
    whole = form.header + form.line(EVENTS[0])
    torn = form.line(EVENTS[1])
    for length in (1, len(torn) // 2, len(torn) - 1):
        path.write_bytes(whole + torn[:length])
        target = opened(f"file:{path}?format={name}")
        target.send(EVENTS[1:3])
        target.close()
        assert path.read_bytes() == whole + torn + form.line(EVENTS[2])
    first = whole[: len(form.header) or 9]
    for length in range(1, len(first), 1 + len(first) // 9):
        path.write_bytes(first[:length])
        target = opened(f"file:{path}?format={name}")
        target.send(EVENTS[:1])
        target.close()
        assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"root:x:0:0\n", b"no line end", b"\0", b'{"other":1}\n'])
def test_a_file_of_something_else_stays_as_it_is(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(content)
    with pytest.raises(Misconfigured, match="is something else"):
        opened(f"file:{path}").send(EVENTS[:1])
    assert path.read_bytes() == content


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for name, words in (
        ("link", "a symbolic link"), ("dangling", "a symbolic link"), ("pipe", "a pipe"), ("directory", "a directory"),
        ("missing/out", "No such file or directory"), ("there/out", "Not a directory"),
    ):  # fmt: skip
        with pytest.raises(Misconfigured, match=words):
            opened(f"file:{tmp_path / name}").send(EVENTS[:1])
    with pytest.raises(Misconfigured, match="a device"):
        opened("file:/dev/null").send(EVENTS[:1])
    assert (tmp_path / "there").read_text() == "" and not (tmp_path / "nowhere").exists()


def test_two_do_not_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "out"
    first, second = opened(f"file:{path}"), opened(f"file:{path}")
    first.send(EVENTS[:1])
    with pytest.raises(Unavailable, match="somebody else writes to it"):
        second.send(EVENTS[1:2])
    first.close()
    second.send(EVENTS[1:2])
    second.close()
    assert ids(path) == of(EVENTS[:2])


def test_a_disk_without_room_takes_nothing_of_a_batch(tmp_path: Path) -> None:
    """A limit of the process stands for the disk: a write that takes a part, and then none."""
    path = tmp_path / "out"
    program = f"""
        import resource, signal
        from pythonaudit.export.targets import Unavailable, open_target, parse_address
        from tests.exported import recorded
        events = recorded()
        target = open_target(parse_address("file:{path}"))
        target.send(events[:3])
        size = __import__("os").path.getsize("{path}")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
        try:
            target.send(events[3:9])
        except Unavailable as error:
            print(error)
        assert __import__("os").path.getsize("{path}") == size
        try:
            open_target(parse_address("file:{path}.parquet?format=parquet")).send(events)
        except Unavailable as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        target.send(events[3:9])
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"file:{path}: File too large\nfile:{path}.parquet: File too large\n"
    assert os.listdir(tmp_path) == ["out"]
    assert ids(path) == of(EVENTS[:9])


def test_parquet_is_a_file_a_batch(tmp_path: Path) -> None:
    target = opened(f"file:{tmp_path / 'audit.parquet'}?format=parquet&keep=2")
    batches = [EVENTS[:10], EVENTS[10:20], EVENTS[20:30]]
    for batch in batches:
        target.send(batch)
        target.send(batch)  # as after a crash: the same file again
    target.send([])
    target.close()
    names = sorted(os.listdir(tmp_path))
    assert len(names) == 2
    assert all(name.startswith("audit-2026") and name.endswith(".parquet") for name in names)
    tables = [pq.read_table(io.BytesIO((tmp_path / name).read_bytes())) for name in names]
    assert [table["id"].to_pylist() for table in tables] == [of(batch) for batch in batches[1:]]


def test_stdout_gets_what_is_asked_for_and_a_reader_that_has_gone_is_no_trouble() -> None:
    program = """
        import sys
        from pythonaudit.export.targets import open_target, parse_address
        from tests.exported import recorded
        target = open_target(parse_address("-", {"format": sys.argv[1]}))
        events = recorded()
        try:
            for begin in range(0, len(events), 100):
                target.send(events[begin : begin + 100])
        except BrokenPipeError:
            sys.stderr.write("gone")
            sys.stderr.flush()
            __import__("os")._exit(0)
        target.close()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run([*command, "csv"], cwd=ROOT, capture_output=True)
    form = find_format("csv")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == form.header + b"".join(map(form.line, EVENTS))
    with subprocess.Popen([*command, "ocsf"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b"gone"


def test_stdout_has_no_parquet() -> None:
    with pytest.raises(UsageError, match="one of jsonl, ecs, ocsf, cef, csv"):
        open_target(parse_address("-", {"format": "parquet"}))
