"""`pythonaudit run`: the command behaves as if started directly."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pythonaudit.cli.cmd_run import check_label, new_label
from pythonaudit.errors import UsageError
from tests.conftest import TIMEOUT_SECONDS, Installed
from tests.integration.run_command import LINE, Run


@pytest.fixture
def run(installed_here: Installed, tmp_path: Path) -> Run:
    return Run(installed_here, tmp_path / "recordings")


class TestEnd:
    @pytest.mark.parametrize("status", [0, 3, 255])
    @pytest.mark.parametrize("quiet", [[], ["-q"]], ids=["line", "quiet"])
    def test_the_status_is_the_commands(self, run: Run, status: int, quiet: list[str]) -> None:
        assert run(*quiet, "--", "sh", "-c", f"exit {status}").returncode == status

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV])
    def test_the_signal_is_the_commands(self, run: Run, number: int) -> None:
        done = run("--", "sh", "-c", f"kill -{number} $$")
        assert done.returncode == -number
        assert ": no Python process was recorded; " in done.stderr

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
        done = run("--", run.python, "-c", "print('out')")
        assert done.stdout == "out\n"
        line = LINE.fullmatch(done.stderr)
        assert line
        assert line["processes"] == "1"
        assert int(line["events"]) > 40
        assert line["losses"] == "nothing lost"

    def test_quiet_is_silent_and_leaves_no_process_between(self, run: Run) -> None:
        command = [*run.words, "-q", "--", "sh", "-c", "echo $$; exec sh -c :"]
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
    def test_what_it_sees(self, installed_here: Installed, run: Run, quiet: list[str], look: list[str]) -> None:
        def ignore_some() -> None:
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})

        def see(*before: str) -> str:
            kept = os.open("/dev/null", os.O_RDONLY)
            environment = {"PATH": os.environ["PATH"], "LANG": "C", "A": "1", "LD_PRELOAD": "libm.so.6 libdl.so.2"}
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

        assert see(*run.words, *quiet, "--") == see()

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
