"""`pythonaudit export` of what real processes record."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pythonaudit.export import offline
from tests import sealed
from tests.commands import run
from tests.conformance.test_stranger import PROGRAM
from tests.conftest import Installed


@pytest.fixture(scope="module")
def store(installed_here: Installed) -> tuple[Path, str]:
    """Threads, forks, subinterpreters, revealed text, contexts; two recordings in two epochs, put together."""
    directory = installed_here.new_directory()
    key = sealed.start_sealing(directory)
    settings = {"PYTHONAUDIT_EVENTS": "all", "PYTHONAUDIT_REVEAL": "code", "PYTHONAUDIT_RUN": "first"}
    installed_here.record(PROGRAM, directory=directory, settings=settings)
    sealed.seal_open(directory)
    sealed.archive(directory)
    sealed.rotate(directory)
    installed_here.record(PROGRAM, directory=directory, settings={"PYTHONAUDIT_RUN": "second"})
    sealed.archive(directory)
    sealed.put_together(directory)
    return directory, key


def export(directory: Path, path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run(directory, "export", "--evidence", str(path), *words)


@pytest.mark.parametrize(
    "filters",
    [
        ("--run", "second"),
        ("--category", "application", "--text", "USER LOGGED"),
        ("--context", "user=john*", "--source", "application"),
        ("--where", "event = 'open' and thread is null"),
        ("--event", "compile"),
    ],
    ids=lambda words: " ".join(words),
)
def test_filters_are_those_of_log(store: tuple[Path, str], tmp_path: Path, filters: tuple[str, ...]) -> None:
    directory, key = store
    path = tmp_path / "evidence.zip"
    done = export(directory, path, *filters)
    assert (done.returncode, done.stderr) == (0, "")
    files = sealed.unpack(path)
    logged = run(directory, "log", "--format", "jsonl", *filters).stdout
    assert files["events.jsonl"].decode() == logged != ""
    assert done.stdout.startswith(f"{len(logged.splitlines()):,} event")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-I", "-S", str(tmp_path / "verify.py"), "--key", key]
    verified = subprocess.run(command, capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert verified.stdout.splitlines()[-1].startswith("INTACT")
    assert json.loads(files["bundle.json"])["filters"]


def test_all_of_a_store(store: tuple[Path, str], tmp_path: Path) -> None:
    directory, key = store
    done = export(directory, tmp_path / "e.zip")
    assert (done.returncode, done.stderr) == (0, "")
    found = sealed.verify(tmp_path / "e.zip", [key])
    assert found.problems == [] and len(found.proven) > 2000
    with_text = [line for line in found.lines if "$text" in line]
    assert len(with_text) == 1


def test_a_file_that_is_there(store: tuple[Path, str], tmp_path: Path) -> None:
    directory, _ = store
    path = tmp_path / "e.zip"
    path.write_text("of value")
    done = export(directory, path, "--event", "compile")
    assert (done.returncode, done.stdout) == (3, "")
    assert (
        done.stderr == f"pythonaudit: {path}: is there already; choose another name, or replace it with --force\n"
    )
    assert path.read_text() == "of value"
    assert export(directory, path, "--event", "compile", "--force").returncode == 0
    assert path.read_bytes().startswith(b"PK")
    done = export(directory, path, "--event", "no such event", "--force")
    assert (done.returncode, done.stderr) == (3, "pythonaudit: no event that matches is sealed and archived\n")
    assert path.read_bytes().startswith(b"PK")


def test_what_cannot_be(store: tuple[Path, str], tmp_path: Path, installed_here: Installed) -> None:
    assert export(tmp_path, tmp_path / "none" / "e.zip").returncode == 3
    assert run(store[0], "export").returncode == 2
    directory = installed_here.record("open('/etc/passwd').close()").directory
    done = export(directory, tmp_path / "e.zip")
    assert done.returncode == 3
    assert done.stderr == f"pythonaudit: nothing is sealed in {directory}; begin with 'pythonaudit keys init'\n"


def test_running_processes_are_left_out(
    store: tuple[Path, str], tmp_path: Path, installed_here: Installed
) -> None:
    directory = installed_here.new_directory()
    sealed.start_sealing(directory)
    installed_here.record("import sys; sys.audit('ended')", directory=directory)
    sealed.archive(directory)
    env = installed_here.environment(PYTHONAUDIT="1", PYTHONAUDIT_DIR=directory)
    code = "import sys; sys.audit('running'); print('here', flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen([installed_here.python, "-c", code], env=env, stdin=pipe, stdout=pipe) as process:
        assert process.stdout and process.stdout.readline() == b"here\n"
        done = export(directory, tmp_path / "a.zip", "--event", "ended", "--event", "running")
        assert done.returncode == 0
        assert done.stderr == (
            "pythonaudit: left out, being not sealed or not archived: 1; 'pythonaudit ingest' archives and seals them "
            "when their processes have ended\n"
        )
        assert done.stdout.startswith("1 event of 1 segment, proven by 2 records: ")
        alone = export(directory, tmp_path / "b.zip", "--event", "running")
        assert alone.returncode == 3
        assert alone.stderr.endswith("; 'pythonaudit ingest' seals what ended processes recorded\n")
        assert not list(tmp_path.glob("b.zip*"))


def test_the_wheel_has_all_of_it(installed_here: Installed) -> None:
    """A base installation can give its verify.py: it needs nothing."""
    code = "from pythonaudit.export import offline; print(offline.source(), end='')"
    assert installed_here.run("-c", code).stdout == offline.source()
    assert (installed_here.purelib / "pythonaudit" / "export" / "evidence_readme.txt").is_file()
