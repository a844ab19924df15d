"""What doctor makes of directories, disks and interpreters that this machine need not have."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import pythonaudit
from pythonaudit.cli import checks, room
from pythonaudit.cli.checks import BROKEN, NOTE, OK, WARNING, Finding
from pythonaudit.cli.interpreters import Interpreter
from pythonaudit.cli.trial import Trial

COVERED = Interpreter(
    executable=Path("/srv/venv/bin/python"),
    base=Path("/usr/bin/python3.12"),
    prefix=Path("/srv/venv"),
    version=(3, 12, 1),
    implementation="cpython",
    free_threaded=False,
    pth=("/srv/venv/lib/python3.12/site-packages",),
    package="/srv/venv/lib/python3.12/site-packages/pythonaudit",
    package_version=pythonaudit.__version__,
)


def statuses(findings: Iterator[Finding]) -> list[str]:
    return [finding.status for finding in findings]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("1k", 1 << 10),
        ("512M", 512 << 20),
        ("2G", 2 << 30),
        ("2gib", 2 << 30),
        ("3MiB", 3 << 20),
        ("", None),
        ("2T", None),
        ("1.5G", None),
        ("-1", None),
        ("G", None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert room.parse_size(text) == size


@pytest.mark.parametrize(
    ("mode", "status", "says"),
    [
        (0o700, OK, "private"),
        (0o750, BROKEN, "open to others (mode 0750)"),
        (0o777, BROKEN, "open to others (mode 0777)"),
        (0o1733, OK, "drop-boxes of all users"),
        (0o1777, WARNING, "names everybody can list"),
    ],
)
def test_rights_of_the_directory(tmp_path: Path, mode: int, status: str, says: str) -> None:
    journal = tmp_path / "journal"
    journal.mkdir()
    journal.chmod(mode)
    (finding,) = checks.check_directory(tmp_path, os.geteuid())
    assert finding.status == status
    assert says in finding.text
    if finding.remedy:  # chmod MODE DIRECTORY, and then all is well
        journal.chmod(int(finding.remedy.split()[1], 8))
        assert statuses(checks.check_directory(tmp_path, os.geteuid())) == [OK]


def test_a_link_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "journal").symlink_to(tmp_path)
    (finding,) = checks.check_directory(tmp_path, os.geteuid())
    assert (finding.status, finding.text) == (BROKEN, f"{tmp_path}/journal is no directory")


def test_a_directory_of_another_user(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir(mode=0o700)
    owner = (tmp_path / "journal").stat().st_uid
    findings = checks.check_directory(tmp_path, owner + 1)
    assert statuses(findings) == ([OK] if owner == 0 else [BROKEN])


def test_no_directory_names_what_there_is(tmp_path: Path) -> None:
    (finding,) = checks.check_directory(tmp_path / "a" / "b", os.geteuid())
    assert finding.status == BROKEN
    assert f"its nearest parent is {tmp_path}" in finding.text


@pytest.mark.parametrize(
    ("free_bytes", "free_inodes", "status"),
    [(1 << 40, 1000, OK), (1 << 30, 1000, WARNING), (1 << 20, 1000, BROKEN), (1 << 40, 0, BROKEN)],
)
def test_disk_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_bytes: int, free_inodes: int, status: str
) -> None:
    (tmp_path / "journal" / "u0").mkdir(parents=True)
    real = os.statvfs(tmp_path)
    values = [4096, 4096, 1 << 30, free_bytes // 4096, free_bytes // 4096, 1000, free_inodes, free_inodes]
    full = os.statvfs_result([*values, real.f_flag, real.f_namemax])
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    assert statuses(checks.check_room(tmp_path, {}))[-1] == status


def test_a_box_above_its_limit(tmp_path: Path) -> None:
    box = tmp_path / "journal" / "u0"
    box.mkdir(parents=True)
    (box / "a.pyaudit").write_bytes(b"x" * (2 << 20))
    used, _ = checks.check_room(tmp_path, {"PYTHONAUDIT_MAX_BYTES": "1M"})
    assert (used.status, used.text) == (WARNING, f"{box}: 2 MiB of 1 MiB")
    used, _ = checks.check_room(tmp_path, {})
    assert (used.status, used.text) == (OK, f"{box}: 2 MiB of 2 GiB")


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({}, OK, "covered"),
        ({"package_version": "0.0.9"}, NOTE, "covered by version 0.0.9"),
        ({"pth": ()}, NOTE, "not covered by PYTHONAUDIT=1 alone"),
        ({"package": None}, NOTE, "not covered by PYTHONAUDIT=1 alone"),
        ({"version": (3, 9, 1)}, NOTE, "not supported"),
        ({"version": (3, 16, 0)}, NOTE, "not supported"),
        ({"implementation": "pypy"}, NOTE, "not supported"),
        ({"free_threaded": True, "version": (3, 13, 5)}, OK, "covered"),
        ({"free_threaded": True}, NOTE, "cpython 3.12.1t, /srv/venv/bin/python: not supported"),
    ],
)
def test_other_interpreters(change: dict[str, object], status: str, says: str) -> None:
    (finding,) = checks.check_others([replace(COVERED, **change)])  # type: ignore[arg-type]
    assert finding.status == status
    assert says in finding.text


def test_an_unsupported_interpreter_is_broken() -> None:
    (finding,) = checks.check_installation(replace(COVERED, implementation="pypy"))
    assert (finding.status, finding.remedy) == (BROKEN, "use CPython 3.10 to 3.15, or a free-threaded 3.13")


@pytest.mark.parametrize(
    ("trial", "says"),
    [
        (Trial(None, ("No such file",), None, None, ""), "a child says: No such file"),
        (
            Trial(78, ("pythonaudit: PYTHONAUDIT_STACK='x' is not",), None, None, ""),
            "a child that does nothing ended with status 78",
        ),
        (Trial(-6, (), None, None, ""), "a child that does nothing ended by SIGABRT"),
        (Trial(0, (), None, None, "vetoed"), "a child left no journal: the recorder was kept out (vetoed)"),
        (Trial(0, ("pythonaudit: odd",), None, None, ""), "a child left no journal: no reason said"),
    ],
)
def test_trials_that_failed(tmp_path: Path, trial: Trial, says: str) -> None:
    findings = list(checks.check_trial("PYTHONAUDIT=1", trial, tmp_path, {}))
    assert {finding.status for finding in findings} == {BROKEN}
    assert says in [finding.text for finding in findings]
