"""`pythonaudit tree` on real processes, beside what strace saw of them."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests import commands
from tests.conftest import TIMEOUT_SECONDS, Installed, Recording
from tests.integration.process_witness import Row, Witness, assert_as_witnessed, read_witness, strace
from tests.integration.run_command import Run

EVERYTHING = """
import multiprocessing, os, pty, shlex, subprocess, sys
me = sys.executable
def work():
    sys.audit("work")
def fork(then):
    pid = os.fork()
    if pid == 0:
        then()
        os._exit(0)
    os.waitpid(pid, 0)
if __name__ == "__main__":
    say = "import sys; sys.audit('said')"
    subprocess.run([me, "-c", say])
    subprocess.run([me, "-S", "-I", "-c", say], env={})
    subprocess.run(["git", "--version"], stdout=subprocess.DEVNULL)
    subprocess.run(f"{shlex.quote(me)} -c 'import sys' | cat", shell=True)
    subprocess.run(["bash", "-c", f"{shlex.quote(me)} -c 'import os' | {shlex.quote(me)} -c 'import io'; true"])
    subprocess.run(["env", "A=1", me, "-c", "import re"])
    os.system(f"{shlex.quote(me)} -c 'import json'")
    try:
        subprocess.run(["/no/such/program"])
    except FileNotFoundError:
        pass
    os.waitpid(os.posix_spawn(me, [me, "-c", "import ast"], os.environ), 0)
    os.spawnl(os.P_WAIT, me, me, "-c", "import abc")
    os.spawnlp(os.P_WAIT, "true", "true")
    fork(work)
    fork(lambda: fork(work))
    pty.spawn([me, "-c", "import cmd"])
    for method in ("fork", "spawn", "forkserver"):
        child = multiprocessing.get_context(method).Process(target=work)
        child.start()
        child.join()
    os.execv(me, [me, "-c", say])
"""


def read_tree(directory: Path, *words: str) -> list[Row]:
    done = commands.run(directory, "tree", "--format", "jsonl", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def record_witnessed(run: Run, log: Path, *command: str | Path) -> tuple[list[Row], Witness]:
    words = [*strace(log), *run.words, "--", *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return read_tree(run.directory), read_witness(log)


def test_everything_that_starts_a_process(installed_here: Installed, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(EVERYTHING)
    run = Run(installed_here, tmp_path / "recordings")
    rows, witness = record_witnessed(run, tmp_path / "strace", installed_here.python, tmp_path / "program.py")
    assert_as_witnessed(rows, witness)
    assert [row for row in rows if row["coverage"] == "not-recorded"] == []
    root, *others = rows
    assert all(row["depth"] > 0 and "parent_process" in row for row in others)
    by_argv = {row["argv"][-1]: row for row in rows if row["coverage"] == "recorded" and row["way"] == "preload"}
    assert "via" not in by_argv["import re"]  # env became Python
    for module in ("sys", "os", "io"):
        assert by_argv[f"import {module}"]["via"] in ("sh", "bash")
    assert by_argv["import cmd"]["link"] == "exec"
    (last,) = (row for row in rows if row.get("link") == "exec" and row["parent_process"] == root["process"])
    assert last["pid"] == root["pid"]


def test_pip_installs_a_source_distribution(installed_here: Installed, tmp_path: Path) -> None:
    source = tmp_path / "demo-1.0"
    source.mkdir()
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (source / "backend.py").write_text(
        """
import os, subprocess, zipfile
def build_wheel(directory, config_settings=None, metadata_directory=None):
    subprocess.run(["git", "--version"], check=True)
    name = "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.writestr("demo.py", "")
        wheel.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n")
        wheel.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("demo-1.0.dist-info/RECORD", "")
    return name
"""
    )
    with tarfile.open(tmp_path / "demo-1.0.tar.gz", "w:gz") as archive:
        archive.add(source, "demo-1.0")
    run = Run(installed_here, tmp_path / "recordings")
    pip = [
        installed_here.interpreter.base,
        "-m",
        "pip",
        "install",
        "-qq",
        "--no-index",
        "--disable-pip-version-check",
    ]
    target = ["--no-cache-dir", "--target", tmp_path / "target", tmp_path / "demo-1.0.tar.gz"]
    rows, witness = record_witnessed(run, tmp_path / "strace", *pip, *target)
    assert (tmp_path / "target" / "demo.py").exists()
    assert_as_witnessed(rows, witness)
    assert "not-recorded" not in {row["coverage"] for row in rows}
    (git,) = (row for row in rows if row["command"] == "git --version")
    (build,) = (row for row in rows if row.get("process") == git["parent_process"])
    assert (git["coverage"], git["depth"]) == ("not-python", 2)
    assert build["argv"][1].endswith("build_wheel")


def test_python_that_was_not_recorded(installed_here: Installed) -> None:
    """With PYTHONAUDIT=1 alone there are several ways out."""
    program = f"""
import os, subprocess, sys
me, base = sys.executable, {str(installed_here.interpreter.base)!r}
subprocess.run([me, "-c", "pass"])
subprocess.run([me, "-S", "-c", "pass"])
subprocess.run([me, "-c", "pass"], env={{}})
subprocess.run([base, "-c", "pass"])
subprocess.run([base, "-V"], stdout=subprocess.DEVNULL)
subprocess.run(["sh", "-c", f"'{{me}}' -S -c pass; true"])
os.execl(me, me, "-S", "-c", "pass")
"""
    recording: Recording = installed_here.record(program)
    done = commands.run(recording.directory, "tree", "--format", "jsonl")
    assert done.stderr == "pythonaudit: 5 Python processes were not recorded\n"
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["coverage"], row.get("link")) for row in rows] == [
        ("recorded", None),
        ("recorded", "ppid"),
        ("not-recorded", None),
        ("not-recorded", None),
        ("not-recorded", None),
        ("not-python", None),
        ("not-recorded", None),
        ("not-recorded", "exec"),
    ]


def test_a_process_that_lives(installed_here: Installed, tmp_path: Path) -> None:
    env = installed_here.environment(PYTHONAUDIT="1", PYTHONAUDIT_DIR=tmp_path)
    program = "import os; print(flush=True); input(); os._exit(0)"
    pipe = subprocess.PIPE
    with subprocess.Popen([installed_here.python, "-c", program], env=env, stdin=pipe, stdout=pipe) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()
        assert [(row["pid"], row["state"]) for row in read_tree(tmp_path)] == [(process.pid, "running")]
        assert "running" in commands.run(tmp_path, "tree").stdout
        process.stdin.write(b"\n")
        process.stdin.close()
        process.wait(TIMEOUT_SECONDS)
    assert [row["state"] for row in read_tree(tmp_path)] == ["stopped"]


@pytest.mark.parametrize("way", ["make", "nested"])
def test_what_lies_between_is_named(installed_here: Installed, tmp_path: Path, way: str) -> None:
    run = Run(installed_here, tmp_path / "recordings")
    (tmp_path / "Makefile").write_text(f"all:\n\t@{installed_here.python} -c 'import this' >/dev/null\n")
    command = {
        "make": "['make', '-s', '-C', sys.argv[1]]",
        "nested": "['sh', '-c', 'bash -c \"$0 -c pass; true\"; true', sys.executable]",
    }[way]
    (tmp_path / "program.py").write_text(f"import subprocess, sys\nsubprocess.run({command})\n")
    rows, witness = record_witnessed(
        run, tmp_path / "strace", installed_here.python, tmp_path / "program.py", tmp_path
    )
    assert_as_witnessed(rows, witness)
    child = rows[2]
    assert child["via"] == command.split("'")[1]
    assert child["reason"].startswith("a guess: ")
    assert child["parent_start"] == rows[1]["start"]
