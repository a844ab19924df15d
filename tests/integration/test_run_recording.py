"""`pythonaudit run`: every process of the tree is recorded, from its first event on, in any interpreter."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pythonaudit.cli.interpreters import Interpreter
from pythonaudit.journal.reader import Journal
from tests.conftest import FREE_THREADED, TIMEOUT_SECONDS, Installed
from tests.integration.run_command import LINE, Run

#: Values of PYTHONMALLOC. Without the GIL, Python has an allocator of its own and no other.
ALLOCATORS = ["debug", *(["mimalloc", "mimalloc_debug"] if FREE_THREADED else ["malloc_debug", "malloc"])]


@pytest.fixture
def run(installed_here: Installed, tmp_path: Path) -> Run:
    return Run(installed_here, tmp_path / "recordings")


#: Raises an event of its own, starts a child in the way that its first argument names, which does
#: the same, and so on; each process says its place in the row.
ROW = """
import os, sys
place, way, *more = sys.argv[1:]
sys.audit(f"place {place}: way={way}")
if way == "end":
    sys.exit(0)
command = [sys.executable, "-S", "-I", "-E", sys.argv[0], f"{place}.{way}", *more]
if way == "execve":
    os.execve(command[0], command, {})
if way == "execv":
    os.environ.clear()
    os.execv(command[0], command)
if way == "popen":
    import subprocess
    sys.exit(subprocess.run(command, env={}).returncode)
if way == "vfork":
    import subprocess
    sys.exit(subprocess.run(command, env={}, close_fds=True, start_new_session=True).returncode)
if way == "spawn":
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn(command[0], command, {}), 0)[1]))
if way == "system":
    import shlex
    sys.exit(os.waitstatus_to_exitcode(os.system(shlex.join(command))))
if way == "bash":
    import shlex, subprocess
    words = ["bash", "-c", f"unset PATH; {shlex.join(command)}; exit $?"]
    sys.exit(subprocess.run(words).returncode)
if way == "make":
    import shlex, subprocess
    words = ["make", "-s", "-f", "-", "--eval", f"all: ; @/usr/bin/env -i {shlex.join(command)}"]
    sys.exit(subprocess.run(words, stdin=subprocess.DEVNULL).returncode)
if way == "fork":
    child = os.fork()
    if child == 0:
        os.execve(command[0], command, {})
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
sys.exit(f"no way {way}")
"""
WAYS = ["execve", "execv", "popen", "vfork", "spawn", "system", "bash", "make", "fork"]

MULTIPROCESSING = """
import multiprocessing, sys

def work(method):
    sys.audit(f"worker: method={method}")

if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        process = multiprocessing.get_context(method).Process(target=work, args=(method,))
        process.start()
        process.join()
        assert process.exitcode == 0
"""


class TestRecording:
    """Every interpreter, with nothing of ours in it, from its first event on."""

    def test_a_row_of_children(self, run: Run, interpreter: Interpreter, tmp_path: Path) -> None:
        program = tmp_path / "row.py"
        program.write_text(ROW)
        done = run("--", interpreter.base, "-S", "-I", "-E", program, "0", *WAYS, "end")
        assert done.returncode == 0, done.stderr
        journal = Journal(run.directory)
        places = [e for e in journal.events() if e.event.startswith("place ")]
        row = ["0"]
        for way in WAYS:
            row.append(f"{row[-1]}.{way}")
        assert [e.event.split(":")[0] for e in places] == [f"place {place}" for place in row]
        assert len({e.process.id for e in places}) == len(row)
        line = LINE.fullmatch(done.stderr)
        assert line
        assert int(line["processes"]) == len(journal.processes())
        assert int(line["events"]) == sum(1 for _ in journal.events())
        assert {p.process.run for p in journal.processes()} == {line["label"]}
        assert journal.losses() == []

    def test_multiprocessing(self, run: Run, interpreter: Interpreter, tmp_path: Path) -> None:
        program = tmp_path / "workers.py"
        program.write_text(MULTIPROCESSING)
        done = run("--", interpreter.base, "-I", program)
        assert done.returncode == 0, done.stderr
        workers = [e for e in Journal(run.directory).events() if e.event.startswith("worker")]
        assert [e.fields["method"] for e in workers] == ["fork", "spawn", "forkserver"]
        assert len({e.process.id for e in workers}) == 3

    def test_it_begins_before_the_interpreter(self, run: Run, interpreter: Interpreter) -> None:
        assert run("-q", "--label", "a label", "--", interpreter.base, "-S", "-I", "-c", "").returncode == 0
        (trail,) = Journal(run.directory).processes()
        process = trail.process
        began = process.attributes["began"]
        assert (process.run, began["way"], began["canary"]) == ("a label", "preload", True)
        assert began["modules"] == began["pth"] == []
        events = [e.event for e in Journal(run.directory).events()]
        assert events.index("cpython.run_command") > 20

    def test_a_program_sees_none_of_it(self, run: Run, interpreter: Interpreter) -> None:
        code = "import os; print([n for n in os.environ if 'AUDIT' in n or n == 'LD_PRELOAD'])"
        assert run("-q", "--", interpreter.base, "-c", code).stdout == "[]\n"

    def test_an_installed_interpreter_is_recorded_once(self, run: Run, installed: Installed) -> None:
        code = "import sys; sys.audit('only once')"
        environment = installed.environment(PYTHONAUDIT="1")
        assert run("-q", "--", installed.python, "-c", code, env=environment).returncode == 0
        assert [e.event for e in Journal(run.directory).events()].count("only once") == 1

    @pytest.mark.parametrize("malloc", ALLOCATORS)
    @pytest.mark.parametrize("directory", ["recordings", "/dev/null/nowhere"])
    def test_a_debug_allocator_does_not_mind_the_hook(
        self, installed_here: Installed, interpreter: Interpreter, tmp_path: Path, malloc: str, directory: str
    ) -> None:
        environment = {
            "LD_PRELOAD": str(installed_here.purelib / "pythonaudit" / "_preload.abi3.so"),
            "PYTHONAUDIT": "1",
            "PYTHONAUDIT_DIR": str(tmp_path / directory),
            "PYTHONMALLOC": malloc,
            "XDG_RUNTIME_DIR": "/dev/null/nowhere",
        }
        done = subprocess.run(
            [interpreter.base, "-c", ""], env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_development_mode_is_recorded(self, run: Run, interpreter: Interpreter) -> None:
        assert run("-q", "--", interpreter.base, "-X", "dev", "-c", "").returncode == 0
        (trail,) = Journal(run.directory).processes()
        assert trail.ended

    def test_a_run_in_a_run_has_a_label_of_its_own(self, run: Run) -> None:
        inner = [
            *run.words,
            "--label",
            "inner",
            "--",
            run.python,
            "-S",
            "-c",
            "import sys; sys.audit('inside')",
        ]
        done = run("--label", "outer", "--", *inner)
        assert [line.split(":")[1] for line in done.stderr.splitlines()] == [" run inner", " run outer"]
        (inside,) = [e for e in Journal(run.directory).events() if e.event == "inside"]
        assert inside.process.run == "inner"
