"""`pythonaudit run` where its own place matters: sessions, containers, closed descriptors, labels used twice."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Installed
from tests.integration.run_command import LINE, Run


@pytest.fixture
def run(installed_here: Installed, tmp_path: Path) -> Run:
    """The command of the newest interpreter, and a directory of its own."""
    return Run(installed_here, tmp_path / "recordings")


def test_a_label_used_before_is_counted_anew(run: Run) -> None:
    said = []
    for _ in range(2):
        done = run("--label", "same", "--", run.python, "-S", "-c", "pass")
        found = LINE.fullmatch(done.stderr)
        assert found, done.stderr
        said.append((found["processes"], found["events"]))
    assert said[0] == said[1] == ("1", said[0][1])


def test_what_still_runs_is_said(run: Run, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    child = f"import os; os.write(1, b'ready'); os.close(1); open({str(fifo)!r}).read()"
    parent = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-S', '-c', {child!r}],\n"
        "    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)\n"
        "assert child.stdout.read() == b'ready'\n"
        "child.returncode = 0\n"  # it is left alone
    )
    try:
        done = run("--", run.python, "-S", "-c", parent)
        found = LINE.fullmatch(done.stderr)
        assert found, done.stderr
        assert (found["processes"], found["losses"]) == ("2", "1 process is still running")
    finally:
        fifo.open("w").close()


def test_without_stderr_the_commands_output_is_its_own(run: Run) -> None:
    done = run("--", "sh", "-c", "echo data", preexec_fn=lambda: os.close(2), stderr=None)
    assert (done.returncode, done.stdout) == (0, "data\n")


def test_a_window_signal_from_a_process_goes_on(run: Run) -> None:
    script = "trap 'exit 7' WINCH; kill -WINCH $PPID; while :; do :; done"
    assert run("--", "sh", "-c", script).returncode == 7


def test_hanging_up_reaches_the_command_of_a_session_leader(run: Run, tmp_path: Path) -> None:
    """As with `ssh -t host pythonaudit run …`: the kernel tells the leader, who is `run`."""
    pid, terminal = pty.fork()
    if pid == 0:
        words = [
            *run.words,
            "--",
            "sh",
            "-c",
            f"trap 'echo over > {tmp_path}/over; exit 0' HUP; echo ready; while :; do :; done",
        ]
        os.execvp(words[0], words)
    said = b""
    while b"ready" not in said:
        said += os.read(terminal, 100)
    os.close(terminal)
    os.waitpid(pid, 0)
    assert (tmp_path / "over").read_text() == "over\n"


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="makes a pid namespace")
def test_as_the_first_process_of_a_container_it_reaps_orphans(run: Run) -> None:
    orphans = "for i in 1 2 3; do (true & exec true); done"
    time = "for i in 1 2 3 4 5 6 7 8; do true | true; done"
    script = f"{orphans}; {time}; ps -eo stat= | grep -c Z"
    if not shutil.which("ps"):
        pytest.skip("ps counts them")
    command = ["unshare", "--pid", "--fork", "--mount-proc", *run.words, "--", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "unshare" in done.stderr:
        pytest.skip(done.stderr)
    assert done.stdout == "0\n"
