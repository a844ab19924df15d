"""The command line itself: verbs, mistakes, and how errors end."""

import argparse
import errno
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from pythonaudit import cli
from pythonaudit.errors import StoreError, UsageError

SOURCES = Path(cli.__file__).parents[2]


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[argparse.Namespace], int]], None]:
    """Makes a verb `probe` that takes --count N and words, and does what the test says."""

    def add(run: Callable[[argparse.Namespace], int]) -> None:
        def add_arguments(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("--count", type=int)
            parser.add_argument("words", nargs="*")

        module = types.ModuleType("pythonaudit.cli.cmd_probe")
        vars(module).update(run=run, add_arguments=add_arguments)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(cli.VERBS, "probe", "looks")

    return add


def fail_with(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def run(_args: argparse.Namespace) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["lgo"], "'lgo' is not a command; did you mean 'log'?"),
        (["\x1b[2J"], rf"'\x1b[2J' is not a command; commands: {', '.join(cli.VERBS)}"),
        (["--colour"], "unrecognized arguments: --colour; see 'pythonaudit --help'"),
        (["--dir"], "argument --dir: expected one argument; see 'pythonaudit --help'"),
        (
            ["probe", "--count", "x"],
            "argument --count: invalid int value: 'x'; see 'pythonaudit probe --help'",
        ),
        (["probe", "--cou", "1"], "unrecognized arguments: --cou; see 'pythonaudit probe --help'"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    argv: list[str],
    line: str,
    probe: Callable[[Callable[[argparse.Namespace], int]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    probe(lambda args: 0)
    expected = line.replace("doctor, bench", "doctor, bench, probe")
    assert cli.main(argv) == 2
    assert capsys.readouterr() == ("", f"pythonaudit: {expected}\n")


def test_no_command_shows_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert all(verb in printed.err and summary in printed.err for verb, summary in cli.VERBS.items())


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (StoreError("/x: not there", hint="make it"), 3, "/x: not there; make it"),
        (StoreError("a\nb\x1b[31m"), 3, r"a\nb\x1b[31m"),
        (UsageError("no"), 2, "no"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), 3, "/x/y: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), 3, "No space left on device"),
    ],
)
def test_an_error_is_one_line_with_its_status(
    error: Exception,
    status: int,
    line: str,
    probe: Callable[[Callable[[argparse.Namespace], int]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    probe(fail_with(error))
    assert cli.main(["probe"]) == status
    assert capsys.readouterr() == ("", f"pythonaudit: {line}\n")


def test_a_missing_tool_says_what_to_install(
    probe: Callable[[Callable[[argparse.Namespace], int]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    probe(fail_with(ModuleNotFoundError("No module named 'numpy'", name="numpy.linalg")))
    assert cli.main(["probe"]) == 3
    line = f"this command needs numpy, which is not installed in {sys.prefix}"
    assert capsys.readouterr().err == f"pythonaudit: {line}; pip install 'pythonaudit[tools]'\n"


def test_a_defect_of_ours_is_not_hidden(
    probe: Callable[[Callable[[argparse.Namespace], int]], None],
) -> None:
    probe(fail_with(ModuleNotFoundError("No module named 'pythonaudit.x'", name="pythonaudit.x")))
    with pytest.raises(ModuleNotFoundError):
        cli.main(["probe"])


def test_interrupted(
    probe: Callable[[Callable[[argparse.Namespace], int]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    probe(fail_with(KeyboardInterrupt()))
    assert cli.main(["probe"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("argv", "directory", "words"),
    [
        (["probe"], "/from/environment", []),
        (["--dir", "/a", "probe"], "/a", []),
        (["--dir=/a", "probe"], "/a", []),
        (["probe", "--dir", "/b"], "/b", []),
        (["--dir", "/a", "probe", "--dir", "/b"], "/b", []),
        (["--dir", "/probe", "probe", "log"], "/probe", ["log"]),
        (["--dir", "relative", "probe"], f"{Path.cwd()}/relative", []),
        (["probe", "--", "--dir", "/b"], "/from/environment", ["--dir", "/b"]),
    ],
)
def test_directory(
    argv: list[str],
    directory: str,
    words: list[str],
    probe: Callable[[Callable[[argparse.Namespace], int]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONAUDIT_DIR", "/from/environment")
    seen: list[argparse.Namespace] = []

    def run(args: argparse.Namespace) -> int:
        seen.append(args)
        return 7

    probe(run)
    assert cli.main(argv) == 7
    assert [(args.dir, args.words) for args in seen] == [(Path(directory), words)]


@pytest.mark.parametrize(
    ("environ", "euid", "directory"),
    [
        ({"PYTHONAUDIT_DIR": "/d"}, 0, "/d"),
        ({"PYTHONAUDIT_DIR": ""}, 0, "/var/log/pythonaudit"),
        ({"XDG_STATE_HOME": "/s"}, 0, "/var/log/pythonaudit"),
        ({"XDG_STATE_HOME": "/s", "HOME": "/home/alice"}, 1000, "/s/pythonaudit"),
        (
            {"XDG_STATE_HOME": "relative", "HOME": "/home/alice"},
            1000,
            "/home/alice/.local/state/pythonaudit",
        ),
        ({}, 4_000_000_000, "/tmp/pythonaudit-4000000000"),
    ],
)
def test_default_directory(environ: dict[str, str], euid: int, directory: str) -> None:
    assert cli.default_directory(environ, euid) == Path(directory)


def run_module(*words: str, **options: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pythonaudit", *words]
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "PYTHONAUDIT": ""}
    return subprocess.run(command, env=environment, text=True, **options)  # type: ignore[call-overload, no-any-return]


def test_help_goes_to_stdout() -> None:
    done = run_module("--help", capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "stats" in done.stdout and "--dir" in done.stdout


def test_verbs_that_need_tools_say_so_on_a_base_installation() -> None:
    command = [sys.executable, "-S", "-m", "pythonaudit", "log", "--dir", str(SOURCES)]
    done = subprocess.run(command, env={"PYTHONPATH": str(SOURCES)}, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.startswith("pythonaudit: this command needs ")
    assert done.stderr.endswith("; pip install 'pythonaudit[tools]'\n")
    assert done.stderr.count("\n") == 1
