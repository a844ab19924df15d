"""The recorder's environment variables: what is read, what is refused and how that is said."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.native.store_driver import Driver, program

ROOT = os.geteuid() == 0
ME = os.geteuid()
#: A user that nobody is.
STRANGER = 64321
GIB = 1 << 30


@dataclass(frozen=True)
class Loaded:
    """What one process made of its environment."""

    status: int
    on: int
    stop_on_failure: int
    stop_on_full: int
    stack: int
    reveal: int
    max_bytes: int
    mode: int
    run: str
    dir: str
    repairs: str
    said: str


def loaded(answer: list[str], said: str) -> Loaded:
    status, on, failure, full, stack, reveal, size, mode = map(int, answer[:8])
    run, directory, repairs = answer[8:]
    return Loaded(status, on, failure, full, stack, reveal, size, mode, run, directory, repairs, said)


def load(env: dict[str, str], **options: Any) -> Loaded:
    driver = Driver({"PYTHONAUDIT": "1", "HOME": "/nowhere"} | env, **options)
    answer = driver.ask("settings")
    return loaded(answer, driver.end())


def test_defaults() -> None:
    found = load({})
    where = "/var/log/pythonaudit" if ROOT else "/nowhere/.local/state/pythonaudit"
    assert found == Loaded(0, 1, 0, 0, 64, 0, 2 * GIB, 2, "", where, "", "")


def test_empty_is_default() -> None:
    names = ("DIR", "EVENTS", "STACK", "RUN", "MAX_BYTES", "ON_FULL", "ON_FAILURE", "REVEAL")
    assert load({f"PYTHONAUDIT_{name}": "" for name in names}) == load({})


@pytest.mark.parametrize("value", ["", "0"])
def test_off(value: str) -> None:
    found = load({"PYTHONAUDIT": value, "PYTHONAUDIT_STACK": "senseless"})
    assert (found.on, found.status, found.said) == (0, 0, "")


@pytest.mark.parametrize("value", ["1", "00", "off", " "])
def test_on(value: str) -> None:
    assert load({"PYTHONAUDIT": value}).on == 1


def test_everything_is_read() -> None:
    found = load(
        {
            "PYTHONAUDIT_DIR": "/srv/audit",
            "PYTHONAUDIT_EVENTS": "app",
            "PYTHONAUDIT_STACK": "128",
            "PYTHONAUDIT_RUN": "nightly é 7",
            "PYTHONAUDIT_MAX_BYTES": "1M",
            "PYTHONAUDIT_ON_FULL": "stop",
            "PYTHONAUDIT_ON_FAILURE": "stop",
            "PYTHONAUDIT_REVEAL": "code,mail,sql",
        }
    )
    assert found == Loaded(0, 1, 1, 1, 128, 1 | 32 | 8, 1 << 20, 0, "nightly é 7", "/srv/audit", "", "")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1048576", 1 << 20), ("1024K", 1 << 20), ("1024kib", 1 << 20), ("3M", 3 << 20), ("3MiB", 3 << 20),
        ("4g", 4 * GIB), ("4GiB", 4 * GIB), ("8589934591G", 8589934591 * GIB),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    found = load({"PYTHONAUDIT_MAX_BYTES": text})
    assert (found.max_bytes, found.said) == (size, "")


SIZE = "is not a size of at least 1M, such as 512M or 2G"
STACK = "is not a number from 0 to 128"
REVEAL = "is not a list of code, env, http, sql, input, mail"
EVENTS = "is not a set (default, all, security, app) and globs with + or -"
SENSELESS = [
    ("STACK", "abc", "abc", STACK, "64"),
    ("STACK", "129", "129", STACK, "64"),
    ("STACK", "-1", "-1", STACK, "64"),
    ("STACK", "6 4", "6 4", STACK, "64"),
    ("STACK", "18446744073709551617", "18446744073709551617", STACK, "64"),
    ("STACK", "7\x1b[31m\nx", "7?[31m?x", STACK, "64"),
    ("STACK", "\u202e5\x9b\x7f", "???5???", STACK, "64"),
    ("STACK", "9" * 81, "9" * 80 + "...", STACK, "64"),
    ("STACK", "9" * 80, "9" * 80, STACK, "64"),
    ("MAX_BYTES", "1048575", "1048575", SIZE, "2G"),
    ("MAX_BYTES", "2GB", "2GB", SIZE, "2G"),
    ("MAX_BYTES", "1.5G", "1.5G", SIZE, "2G"),
    ("MAX_BYTES", "8589934592G", "8589934592G", SIZE, "2G"),
    ("MAX_BYTES", "G", "G", SIZE, "2G"),
    ("MAX_BYTES", "-2G", "-2G", SIZE, "2G"),
    ("ON_FULL", "Oldest", "Oldest", "is neither oldest nor stop", "oldest"),
    ("ON_FAILURE", "halt", "halt", "is neither continue nor stop", "continue"),
    ("REVEAL", "code,foo", "code,foo", REVEAL, ""),
    ("REVEAL", "code;env", "code;env", REVEAL, ""),
    ("EVENTS", "everything", "everything", EVENTS, "default"),
    ("EVENTS", "default,import", "default,import", EVENTS, "default"),
    ("EVENTS", "-import,all", "-import,all", "names a set after its first item", "default"),
    ("EVENTS", "all,+", "all,+", "has a + with no glob", "default"),
    ("EVENTS", "+" * 4096, "+" * 80 + "...", "is longer than 4095 bytes", "default"),
    ("RUN", "r" * 128, "r" * 80 + "...", "is longer than 127 bytes", ""),
    ("RUN", "a\nb", "a?b", "has control characters", ""),
    ("DIR", "/" + "d" * 3900, "/" + "d" * 79 + "...", "makes a path longer than 3900 bytes", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "shown", "problem", "used"), SENSELESS)
def test_senseless_values(name: str, value: str, shown: str, problem: str, used: str | None) -> None:
    default = load({})
    used = default.dir if used is None else used
    found = load({f"PYTHONAUDIT_{name}": value})
    assert found.said == f"pythonaudit: PYTHONAUDIT_{name}='{shown}' {problem}; using {used or 'none'}\n"
    assert found.repairs == f"PYTHONAUDIT_{name}={used}"
    assert found == Loaded(**(vars(default) | {"said": found.said, "repairs": found.repairs}))


def test_each_senseless_value_has_its_line_and_stop_stops() -> None:
    env = {"PYTHONAUDIT_STACK": "x", "PYTHONAUDIT_MAX_BYTES": "y", "PYTHONAUDIT_ON_FAILURE": "stop"}
    found = load(env)
    assert found.said.splitlines() == [
        f"pythonaudit: PYTHONAUDIT_STACK='x' {STACK}; stopping, as PYTHONAUDIT_ON_FAILURE=stop asks",
        f"pythonaudit: PYTHONAUDIT_MAX_BYTES='y' {SIZE}; stopping, as PYTHONAUDIT_ON_FAILURE=stop asks",
    ]
    assert found.status == 78


def test_a_process_tree_complains_once() -> None:
    driver = Driver({"PYTHONAUDIT": "1", "PYTHONAUDIT_STACK": "x", "PYTHONAUDIT_REVEAL": "y"})
    first = driver.ask("settings")
    driver.tell("exec")
    second = driver.ask("settings")
    said = driver.end()
    assert first[-1] == "PYTHONAUDIT_STACK=64;PYTHONAUDIT_REVEAL="
    assert second[:-1] == first[:-1] and second[-1] == ""
    assert said.count("\n") == 2


def test_a_complaint_to_nobody_kills_nobody() -> None:
    """Before Python ignores it, SIGPIPE would."""
    reading, writing = os.pipe()
    os.close(reading)
    command = subprocess.run(
        [str(program())],
        env={"PYTHONAUDIT": "1", "PYTHONAUDIT_STACK": "x"},
        input=b"settings\n",
        stdout=subprocess.PIPE,
        stderr=writing,
        restore_signals=True,
    )
    os.close(writing)
    assert command.returncode == 0
    assert command.stdout.startswith(b"0\t1\t")


@pytest.mark.parametrize(("value", "tail"), [("audit", "/audit"), ("./a/../b", "/./a/../b"), ("é", "/é")])
def test_a_relative_directory_is_made_absolute(tmp_path: Path, value: str, tail: str) -> None:
    found = load({"PYTHONAUDIT_DIR": value}, cwd=tmp_path)
    assert (found.dir, found.said) == (f"{tmp_path}{tail}", "")


def test_a_relative_directory_at_the_root() -> None:
    assert load({"PYTHONAUDIT_DIR": "audit"}, cwd="/").dir == "/audit"


def test_a_relative_directory_in_no_place(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    remove = f"import os, sys; os.rmdir({str(gone)!r}); os.execv(sys.argv[1], sys.argv[1:])"
    ran = subprocess.run(
        [shutil.which("python3") or "python3", "-c", remove, str(program())],
        env={"PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": "x", "HOME": "/nowhere"},
        cwd=gone,
        input="settings\n",
        capture_output=True,
        text=True,
    )
    default = load({}).dir
    problem = "is relative, and the working directory has no name"
    assert ran.stderr == f"pythonaudit: PYTHONAUDIT_DIR='x' {problem}; using {default}\n"
    assert loaded(ran.stdout.rstrip("\n").split("\t"), "").dir == default


def default_of_stranger(env: dict[str, str]) -> str:
    driver = Driver({"PYTHONAUDIT": "1"} | env, user=STRANGER, group=STRANGER, extra_groups=[])
    answer = driver.ask("settings")
    assert driver.end() == ""
    return loaded(answer, "").dir


@pytest.mark.skipif(not ROOT, reason="only root can be another user")
@pytest.mark.parametrize(
    ("env", "where"),
    [
        ({"XDG_STATE_HOME": "/x/state", "HOME": "/h"}, "/x/state/pythonaudit"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/pythonaudit"),
        ({"XDG_STATE_HOME": "/" + "x" * 3900, "HOME": "/h"}, "/h/.local/state/pythonaudit"),
        ({"HOME": "relative"}, f"/tmp/pythonaudit-{STRANGER}"),
        ({}, f"/tmp/pythonaudit-{STRANGER}"),
    ],
)
def test_default_of_a_user(env: dict[str, str], where: str) -> None:
    assert default_of_stranger(env) == where


@pytest.fixture
def taken() -> Iterator[Path]:
    """The stranger's name in /tmp, in other hands."""
    path = Path(f"/tmp/pythonaudit-{STRANGER}")
    path.mkdir(mode=0o777)
    yield path
    path.rmdir()


@pytest.mark.skipif(not ROOT, reason="only root can be another user")
def test_a_taken_name_in_tmp_is_not_used(taken: Path) -> None:
    runtime = f"/run/user/{STRANGER}/pythonaudit"
    assert default_of_stranger({}) == runtime
    os.chown(taken, STRANGER, STRANGER)
    taken.chmod(0o777)
    assert default_of_stranger({}) == runtime
    taken.chmod(0o700)
    assert default_of_stranger({}) == str(taken)
