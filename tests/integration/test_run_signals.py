"""`pythonaudit run`: signals, keys and job control reach the command as if it were started directly."""

from __future__ import annotations

import fcntl
import os
import re
import select
import shlex
import signal
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import TIMEOUT_SECONDS, Installed
from tests.integration.run_command import LINE, Run


@pytest.fixture
def run(installed_here: Installed, tmp_path: Path) -> Run:
    return Run(installed_here, tmp_path / "recordings")


#: Says `ready` and its parent, then the name of each signal that it gets; ends at SIGTERM with the number of them.
LISTENER = """
import os, signal, sys
names = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGTERM", "SIGTSTP"]
mask = {getattr(signal, name) for name in names}
signal.pthread_sigmask(signal.SIG_BLOCK, mask)
print("ready", os.getppid(), flush=True)
count = 0
while True:
    got = signal.sigwait(mask)
    count += 1
    print(got.name, flush=True)
    if got is signal.SIGTERM:
        sys.exit(count)
"""


#: Repeats lines, and says when it is continued; ends with 5.
READER = """
import os, signal, sys
signal.signal(signal.SIGCONT, lambda *_: os.write(1, b"continued\\n"))
print("begun", flush=True)
for line in sys.stdin:
    print("got", line, end="", flush=True)
sys.exit(5)
"""


class TestSignals:
    @pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM"])
    def test_what_a_process_sends_goes_on(self, run: Run, name: str) -> None:
        command = [*run.words, "--", run.python, "-I", "-c", LISTENER]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
            assert started.stdout is not None
            assert started.stdout.readline() == f"ready {started.pid}\n"
            started.send_signal(getattr(signal, name))
            assert started.stdout.readline() == f"{name}\n"
            started.send_signal(signal.SIGTERM)
            out, err = started.communicate(timeout=TIMEOUT_SECONDS)
        assert (out, started.returncode) == ("SIGTERM\n", 2)
        assert LINE.fullmatch(err)


class Shell:
    """An interactive shell on a terminal of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._terminal, slave = os.openpty()

        def take_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            env=environment | {"PS1": "$ ", "TERM": "dumb"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=take_terminal,
        )
        os.close(slave)
        self._said = ""

    def type(self, keys: str) -> None:
        """Presses keys; control characters are what the terminal makes of them."""
        os.write(self._terminal, keys.encode())

    def expect(self, pattern: str) -> re.Match[str]:
        """Waits for output that matches; what came before it is dropped."""
        while not (found := re.search(pattern, self._said)):
            ready, _, _ = select.select([self._terminal], [], [], TIMEOUT_SECONDS)
            assert ready, f"no {pattern!r} in {self._said!r}"
            self._said += os.read(self._terminal, 4096).decode()
        self._said = self._said[found.end() :]
        return found

    def close(self) -> None:
        """Hangs up."""
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)


class TestTerminal:
    """Keys and job control, in a real shell."""

    INTERRUPT, QUIT, SUSPEND, END = "\x03", "\x1c", "\x1a", "\x04"

    @pytest.fixture
    def shell(self, installed_here: Installed) -> Iterator[Shell]:
        shell = Shell(installed_here.environment(PATH=os.environ["PATH"]))
        yield shell
        shell.close()

    @pytest.fixture
    def listener(self, shell: Shell, run: Run) -> int:
        """A running listener; gives the process id of the `run` above it."""
        shell.type(f"{shlex.join([*run.words, '--', run.python, '-I', '-c', LISTENER])}; echo status=$?.\n")
        return int(shell.expect(r"ready (\d+)\r\n")[1])

    def test_keys_reach_the_command_once(self, shell: Shell, listener: int) -> None:
        for key, name in ((self.INTERRUPT, "SIGINT"), (self.QUIT, "SIGQUIT"), (self.INTERRUPT, "SIGINT")):
            shell.type(key)
            shell.expect(rf"{name}\r\n")
        os.kill(listener, signal.SIGTERM)
        shell.expect(r"SIGTERM\r\n")
        shell.expect(r"pythonaudit: run ")
        assert shell.expect(r"status=(\d+)\.\r\n")[1] == "4"

    def test_a_command_that_does_not_stop_goes_on(self, shell: Shell, listener: int) -> None:
        shell.type(self.SUSPEND)
        shell.expect(r"SIGTSTP\r\n")
        os.kill(listener, signal.SIGTERM)
        assert shell.expect(r"Stopped|status=2\.")[0] == "status=2."

    def test_one_that_stops_can_be_continued(self, shell: Shell, run: Run) -> None:
        shell.type(f"{shlex.join([*run.words, '--', run.python, '-I', '-c', READER])}\n")
        shell.expect(r"begun\r\n")
        for line in ("line 1", "line 2"):
            shell.type(self.SUSPEND)
            shell.expect(r"Stopped")
            self.foreground(shell)
            shell.type(f"{line}\n")
            shell.expect(rf"got {line}\r\n")
        shell.type(self.END)
        shell.expect(r"pythonaudit: run ")
        shell.expect(r"\$ ")
        shell.type("echo status=$?.\n")
        shell.expect(r"status=5\.")

    def test_one_in_the_background_that_reads_is_stopped(self, shell: Shell, run: Run) -> None:
        shell.type(f"{shlex.join([*run.words, '--', run.python, '-I', '-c', READER])} &\n")
        shell.expect(r"begun\r\n")
        shell.type('until [ "$(jobs -s)" ]; do :; done; jobs\n')
        shell.expect(r"\[1\]\+ +Stopped")
        self.foreground(shell)
        shell.type("a line\n")
        shell.expect(r"got a line\r\n")
        shell.type(self.END)
        shell.expect(r"pythonaudit: run ")

    @staticmethod
    def foreground(shell: Shell) -> None:
        """`fg`, typed when the shell reads and waited for: the terminal changes modes in between."""
        shell.expect(r"\$ ")
        shell.type("fg\n")
        shell.expect(r"continued\r\n")

    def test_a_shell_in_it_has_jobs_of_its_own(self, shell: Shell, run: Run) -> None:
        inner = ["env", "PS1=inner> ", "bash", "--norc", "--noprofile", "-i"]
        shell.type(f"{shlex.join([*run.words, '--', *inner])}\n")
        shell.expect(r"inner> $")
        shell.type(f"{shlex.join([run.python, '-I', '-c', READER])}\n")
        shell.expect(r"begun\r\n")
        shell.type(self.SUSPEND)
        shell.expect(r"Stopped(.*\r\n)+inner> $")
        shell.type("suspend\n")
        shell.expect(r"Stopped(.*\r\n)+\$ $")
        shell.type("fg\n")
        shell.expect(r"inner> $")
        shell.type("fg\n")
        shell.expect(r"continued\r\n")
        shell.type(self.END)
        shell.expect(r"inner> $")
        shell.type("exit 6\n")
        shell.expect(r"pythonaudit: run (.*\r\n)+\$ $")
        shell.type("echo status=$?.\n")
        shell.expect(r"status=6\.")
