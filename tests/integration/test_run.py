"""`pythonaudit run`: the command behaves as if started directly, and all of its tree is recorded."""

from __future__ import annotations

import fcntl
import os
import re
import resource
import select
import shlex
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pythonaudit.cli.cmd_run import check_label, new_label
from pythonaudit.cli.interpreters import Interpreter
from pythonaudit.errors import UsageError
from pythonaudit.journal.reader import Journal
from tests.conftest import TIMEOUT_SECONDS, Installed

LINE = re.compile(
    r"pythonaudit: run (?P<label>\S+): (?P<processes>\d+) process(?:es)?, (?P<events>\d+) events?, (?P<losses>.*); "
    r"see: pythonaudit log --dir \S+ --run \S+\n"
)

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def words(installed_here: Installed, tmp_path: Path) -> list[str]:
    """How to call it, up to and without the `--`."""
    directory = str(tmp_path / "recordings")
    return [str(installed_here.python), "-m", "pythonaudit", "run", "--dir", directory]


@pytest.fixture
def run(installed_here: Installed, words: list[str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs it to its end."""

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        options.setdefault("env", installed_here.environment())
        options.setdefault("capture_output", True)
        command = [*words, *map(str, arguments)]
        return subprocess.run(command, text=True, timeout=TIMEOUT_SECONDS, **options)  # type: ignore[call-overload, no-any-return]

    return run


Run = Callable[..., subprocess.CompletedProcess[str]]


class TestEnd:
    @pytest.mark.parametrize("status", [0, 3, 255])
    @pytest.mark.parametrize("quiet", [[], ["-q"]], ids=["line", "quiet"])
    def test_the_status_is_the_commands(self, run: Run, status: int, quiet: list[str]) -> None:
        assert run(*quiet, "--", "sh", "-c", f"exit {status}").returncode == status

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV])
    def test_the_signal_is_the_commands(self, run: Run, number: int) -> None:
        done = run("--", "sh", "-c", f"kill -{number} $$")
        assert done.returncode == -number
        assert LINE.fullmatch(done.stderr)

    def test_a_core_is_the_commands_only(self, run: Run, tmp_path: Path) -> None:
        pattern = Path("/proc/sys/kernel/core_pattern").read_text()
        if pattern.startswith(("|", "/")):
            pytest.skip("cores go elsewhere here")
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

        def allow_cores() -> None:
            resource.setrlimit(resource.RLIMIT_CORE, unlimited)

        command = ["--", "sh", "-c", "ulimit -c 0; kill -SEGV $$"]
        assert run(*command, cwd=tmp_path, preexec_fn=allow_cores).returncode == -signal.SIGSEGV
        assert not list(tmp_path.glob("core*"))

    def test_one_line_tells_what_was_recorded(self, run: Run) -> None:
        done = run("--", sys.executable, "-c", "print('out')")
        assert done.stdout == "out\n"
        line = LINE.fullmatch(done.stderr)
        assert line
        assert line["processes"] == "1"
        assert int(line["events"]) > 40
        assert line["losses"] == "nothing lost"

    def test_quiet_is_silent_and_leaves_no_process_between(self, words: list[str]) -> None:
        command = [*words, "-q", "--", "sh", "-c", "echo $$; exec sh -c :"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
            out, err = started.communicate(timeout=TIMEOUT_SECONDS)
        assert (out, err, started.returncode) == (f"{started.pid}\n", "", 0)

    @pytest.mark.parametrize("quiet", [[], ["-q"]], ids=["line", "quiet"])
    @pytest.mark.parametrize(
        ("command", "status", "why"),
        [
            ("no-such-command", 127, "No such file or directory"),
            ("/no/such/command", 127, "No such file or directory"),
            ("/etc", 126, "Permission denied"),
            ("/etc/passwd", 126, "Permission denied"),
        ],
    )
    def test_what_cannot_be_run(self, run: Run, quiet: list[str], command: str, status: int, why: str) -> None:
        done = run(*quiet, "--", command)
        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr == f"pythonaudit: cannot run '{command}': {why}\n"

    @pytest.mark.parametrize("quiet", [[], ["-q"]], ids=["line", "quiet"])
    def test_a_script_without_a_first_line_is_the_shells(self, run: Run, tmp_path: Path, quiet: list[str]) -> None:
        script = tmp_path / "script"
        script.write_text("echo $1 of $#\n")
        script.chmod(0o755)
        assert run(*quiet, "--", script, "a b", "c").stdout == "a b of 2\n"


class TestUsage:
    def test_there_must_be_a_command(self, run: Run) -> None:
        for arguments in ([], ["--"]):
            done = run(*arguments)
            assert done.returncode == 2
            assert done.stderr == "pythonaudit: there is no command to run; pythonaudit run -- COMMAND\n"

    @pytest.mark.parametrize("label", ["", "last", "a\nb", "\x1b[31m", "x" * 128, "é" * 64])
    def test_labels_that_make_no_sense(self, label: str) -> None:
        with pytest.raises(UsageError):
            check_label(label)

    @pytest.mark.parametrize("label", ["nightly", "a label", "x" * 127, "é" * 63])
    def test_labels_that_do(self, label: str) -> None:
        assert check_label(label) == label

    def test_new_labels_sort_by_time_and_are_unique(self) -> None:
        labels = [new_label(millisecond * 1_000_000) for millisecond in (0, 1, 2**40, 2**41)]
        assert labels == sorted(labels)
        assert {len(label) for label in labels} == {26}
        assert new_label(0)[:10] == "0000000000"
        assert len({new_label(0) for _ in range(1000)}) == 1000

    @pytest.mark.parametrize("words_of_command", [["--", "echo", "-q", "--", "x"], ["echo", "-q", "--", "x"]])
    def test_the_command_keeps_its_words(self, run: Run, words_of_command: list[str]) -> None:
        assert run(*words_of_command).stdout == "-q -- x\n"

    @pytest.mark.parametrize("blocked", ["directory", "directory/journal"])
    def test_nothing_is_run_without_a_place_to_record_to(
        self, installed_here: Installed, tmp_path: Path, blocked: str
    ) -> None:
        (tmp_path / blocked).parent.mkdir(exist_ok=True)
        (tmp_path / blocked).write_text("a file")
        command = ["-m", "pythonaudit", "run", "--dir", str(tmp_path / "directory")]
        command += ["--", "touch", str(tmp_path / "ran")]
        done = installed_here.run(*command, status=3)
        assert done.stderr == (
            f"pythonaudit: {tmp_path / blocked}: File exists; name another place with --dir or PYTHONAUDIT_DIR\n"
        )
        assert not (tmp_path / "ran").exists()

    def test_the_directory_is_private_whatever_the_umask(self, run: Run, tmp_path: Path) -> None:
        for umask in (0o000, 0o777):
            shutil.rmtree(tmp_path / "recordings", ignore_errors=True)
            assert run("-q", "--", "true", umask=umask).returncode == 0
            for path in (tmp_path / "recordings", tmp_path / "recordings/journal"):
                assert path.stat().st_mode & 0o7777 == 0o700


class TestTheCommandIsLeftAlone:
    """What the command can see of its surroundings is the same with us and without."""

    @pytest.mark.parametrize("quiet", [[], ["-q"]], ids=["line", "quiet"])
    @pytest.mark.parametrize(
        "look",
        [
            ["env", "-0"],
            ["sh", "-c", "ulimit -a; umask; pwd"],
            ["grep", "-E", "^(Sig(Blk|Ign|Cgt)|ShdPnd)", "/proc/self/status"],
            ["ls", "-l", "/proc/self/fd"],
            ["sh", "-c", "cut -d' ' -f5-8 /proc/self/stat"],
            [sys.executable, "-I", "-c", "import os, sys; print(os.environ, sys.argv, sys.flags)"],
        ],
        ids=["environment", "limits", "signals", "descriptors", "group and terminal", "python"],
    )
    def test_what_it_sees(
        self, installed_here: Installed, words: list[str], quiet: list[str], look: list[str]
    ) -> None:
        def ignore_some() -> None:
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})

        def see(*before: str) -> str:
            kept = os.open("/dev/null", os.O_RDONLY)
            environment = {"PATH": os.environ["PATH"], "LANG": "C", "A": "1", "LD_PRELOAD": "libm.so.6"}
            try:
                done = subprocess.run(
                    [*before, *look],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=None,
                    pass_fds=[kept],
                    preexec_fn=ignore_some,
                    text=True,
                    timeout=TIMEOUT_SECONDS,
                )
            finally:
                os.close(kept)
            assert done.returncode == 0
            # Times and pipes differ in each process.
            return re.sub(r"\d\d:\d\d|pipe:\[\d+\]|/proc/\d+", "", done.stdout)

        assert see(*words, *quiet, "--") == see()

    def test_input_reaches_it(self, run: Run) -> None:
        assert run("--", "cat", input="one\ntwo\n").stdout == "one\ntwo\n"

    def test_without_standard_descriptors(self, run: Run, tmp_path: Path) -> None:
        def close_all() -> None:
            os.closerange(0, 3)

        command = ["--", "sh", "-c", f"ls /proc/self/fd > {tmp_path / 'seen'}"]
        assert run(*command, capture_output=False, preexec_fn=close_all).returncode == 0
        assert (tmp_path / "seen").exists()

    def test_a_children_status_is_known_though_sigchld_is_ignored(self, run: Run) -> None:
        def ignore() -> None:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)

        assert run("--", "sh", "-c", "exit 7", preexec_fn=ignore).returncode == 7


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
    def test_what_a_process_sends_goes_on(self, words: list[str], name: str) -> None:
        command = [*words, "--", sys.executable, "-I", "-c", LISTENER]
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
    def listener(self, shell: Shell, words: list[str]) -> int:
        """A running listener; gives the process id of the `run` above it."""
        shell.type(f"{shlex.join([*words, '--', sys.executable, '-I', '-c', LISTENER])}; echo status=$?.\n")
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

    def test_one_that_stops_can_be_continued(self, shell: Shell, words: list[str]) -> None:
        shell.type(f"{shlex.join([*words, '--', sys.executable, '-I', '-c', READER])}\n")
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

    def test_one_in_the_background_that_reads_is_stopped(self, shell: Shell, words: list[str]) -> None:
        shell.type(f"{shlex.join([*words, '--', sys.executable, '-I', '-c', READER])} &\n")
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

    def test_a_shell_in_it_has_jobs_of_its_own(self, shell: Shell, words: list[str]) -> None:
        inner = ["env", "PS1=inner> ", "bash", "--norc", "--noprofile", "-i"]
        shell.type(f"{shlex.join([*words, '--', *inner])}\n")
        shell.expect(r"inner> $")
        shell.type(f"{shlex.join([sys.executable, '-I', '-c', READER])}\n")
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

    @pytest.fixture
    def recordings(self, tmp_path: Path) -> Path:
        return tmp_path / "recordings"

    def test_a_row_of_children(self, run: Run, interpreter: Interpreter, recordings: Path, tmp_path: Path) -> None:
        program = tmp_path / "row.py"
        program.write_text(ROW)
        done = run("--", interpreter.base, "-S", "-I", "-E", program, "0", *WAYS, "end")
        assert done.returncode == 0, done.stderr
        journal = Journal(recordings)
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

    def test_multiprocessing(self, run: Run, interpreter: Interpreter, recordings: Path, tmp_path: Path) -> None:
        program = tmp_path / "workers.py"
        program.write_text(MULTIPROCESSING)
        done = run("--", interpreter.base, "-I", program)
        assert done.returncode == 0, done.stderr
        workers = [e for e in Journal(recordings).events() if e.event.startswith("worker")]
        assert [e.fields["method"] for e in workers] == ["fork", "spawn", "forkserver"]
        assert len({e.process.id for e in workers}) == 3

    def test_it_begins_before_the_interpreter(self, run: Run, interpreter: Interpreter, recordings: Path) -> None:
        assert run("-q", "--label", "a label", "--", interpreter.base, "-S", "-I", "-c", "").returncode == 0
        (trail,) = Journal(recordings).processes()
        process = trail.process
        began = process.attributes["began"]
        assert (process.run, began["way"], began["canary"]) == ("a label", "preload", True)
        assert began["modules"] == began["pth"] == []
        events = [e.event for e in Journal(recordings).events()]
        assert events.index("cpython.run_command") > 20

    def test_a_program_sees_none_of_it(self, run: Run, interpreter: Interpreter) -> None:
        code = "import os; print([n for n in os.environ if 'AUDIT' in n or n == 'LD_PRELOAD'])"
        assert run("-q", "--", interpreter.base, "-c", code).stdout == "[]\n"

    def test_an_installed_interpreter_is_recorded_once(
        self, run: Run, installed: Installed, recordings: Path
    ) -> None:
        code = "import sys; sys.audit('only once')"
        environment = installed.environment(PYTHONAUDIT="1")
        assert run("-q", "--", installed.python, "-c", code, env=environment).returncode == 0
        assert [e.event for e in Journal(recordings).events()].count("only once") == 1

    def test_a_run_in_a_run_has_a_label_of_its_own(self, run: Run, words: list[str], recordings: Path) -> None:
        inner = [*words, "--label", "inner", "--", sys.executable, "-S", "-c", "import sys; sys.audit('inside')"]
        done = run("--label", "outer", "--", *inner)
        assert [line.split(":")[1] for line in done.stderr.splitlines()] == [" run inner", " run outer"]
        (inside,) = [e for e in Journal(recordings).events() if e.event == "inside"]
        assert inside.process.run == "inner"
