"""`pythonaudit stacks`: as many events, of the same stacks, as a Python hook saw of the same program."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests import commands
from tests.conftest import Installed
from tests.flames import Stacks, read_folded, read_page, read_speedscope, stack_of, unescape_folded
from tests.journal_writer import SegmentWriter
from tests.recorded import is_whole

HERE = Path(__file__).parent
DEFAULT_DEPTH = 64
READERS = {"folded": read_folded, "speedscope": read_speedscope, "html": read_page}


def output(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def seen_by_python(path: Path, depth: int) -> Stacks:
    """What the hook of stack_program.py saw, as the stacks that must come out."""
    return Counter(stack_of(frames, depth) for _, frames in json.loads(path.read_text()))


@pytest.mark.parametrize("depth", [None, 0, 3])
def test_what_python_itself_counts(installed_here: Installed, tmp_path: Path, depth: int | None) -> None:
    settings = {} if depth is None else {"PYTHONAUDIT_STACK": str(depth)}
    recording = installed_here.record([HERE / "stack_program.py", tmp_path / "seen.json"], settings=settings)
    expected = seen_by_python(tmp_path / "seen.json", DEFAULT_DEPTH if depth is None else depth)
    assert expected.total() > 200 and is_whole(recording)
    asked = ("stacks", "--event", "stack")
    for form, read in READERS.items():
        found = read(output(commands.run(recording.directory, *asked, "--format", form)))
        assert unescape_folded(found) == expected, form
    named = read_folded(output(commands.run(recording.directory, *asked, "--by", "event")))
    assert {frames[-1] for frames in named} == {"stack"}
    assert unescape_folded(Counter({frames[:-1]: count for frames, count in named.items()})) == expected
    assert commands.run(recording.directory, "ingest").returncode == 0
    assert unescape_folded(read_folded(output(commands.run(recording.directory, *asked)))) == expected


def test_every_event_is_there(installed_here: Installed) -> None:
    recording = installed_here.record(
        "import json, threading\nt = threading.Thread(target=print)\nt.start(); t.join()"
    )
    count = len(recording.events())
    for words in ([], ["--by", "package"], ["--by", "event"]):
        for form, read in READERS.items():
            text = output(commands.run(recording.directory, "stacks", *words, "--format", form))
            assert read(text).total() == count, (words, form)


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    writer = SegmentWriter()
    thread = writer.thread()
    hostile = ("/srv/</script><img src=x>.py", 3, "a;b\x1b[2J")
    thread.event("open", ["/etc/passwd", "r", 0], stack=[hostile])
    thread.event("open", ["/etc/hosts", "r", 0], stack=[("/srv/app.py", 3, "main")])
    writer.save(tmp_path)
    return tmp_path


def test_filters(trail: Path) -> None:
    expected = "main (/srv/app.py) 1\n"
    for words in (["--path", "/etc/h*"], ["--where", "(stack->>'$[0].function') = 'main'"], ["--text", "HOSTS"]):
        assert output(commands.run(trail, "stacks", *words)) == expected


def test_hostile_text(trail: Path) -> None:
    expected = "a\\x3bb\\x1b[2J (/srv/</script><img src=x>.py) 1\n"
    assert output(commands.run(trail, "stacks", "--text", "passwd")) == expected
    assert expected in commands.show(trail, "stacks").text
    text = output(commands.run(trail, "stacks", "--format", "html"))
    assert "<img" not in text
    assert read_page(text).total() == 2


@pytest.mark.parametrize("form", READERS)
def test_to_a_file(trail: Path, tmp_path: Path, form: str) -> None:
    target = tmp_path / "out"
    target.write_text("what was there before, and is longer than what comes" * 1000)
    done = commands.run(trail, "stacks", "--format", form, "-o", str(target))
    said = f"pythonaudit: {target}: 2 events of 2 stacks\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", said)
    assert target.read_text() == commands.run(trail, "stacks", "--format", form).stdout


def test_a_file_that_cannot_be_written(trail: Path) -> None:
    done = commands.run(trail, "stacks", "-o", str(trail))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"pythonaudit: {trail}: Is a directory\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--by", "line"], "argument --by: invalid choice: 'line'"),
        (["--where", "evnt = 1"], "--where: "),
        (["--where", "event::INTEGER = 1"], "--where: "),
    ],
)
def test_wrong_usage(trail: Path, words: list[str], line: str) -> None:
    done = commands.run(trail, "stacks", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"pythonaudit: {line}")


def test_nothing_matches(trail: Path) -> None:
    for form, read in READERS.items():
        done = commands.run(trail, "stacks", "--event", "nothing like it", "--format", form)
        assert (done.returncode, done.stderr) == (0, f"pythonaudit: no event matches in {trail}\n")
        assert read(done.stdout) == {}


def test_no_store(tmp_path: Path) -> None:
    done = commands.run(tmp_path / "nowhere", "stacks")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)


def test_damage_is_said(tmp_path: Path) -> None:
    writer = SegmentWriter()
    writer.thread().event("open", ["/x", "r", 0], stack=[("/srv/app.py", 3, "main")])
    path = writer.save(tmp_path)
    path.write_bytes(path.read_bytes()[:-4096])
    done = commands.run(tmp_path, "stacks")
    assert done.returncode == 0
    assert "damaged place" in done.stderr and "pythonaudit stats" in done.stderr
