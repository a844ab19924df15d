"""What `pythonaudit run` says when nothing was recorded, and why."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Installed

PYTHON = ("-I", "-c", "print(1)")


def last_line(installed: Installed, directory: Path, *command: str | Path, **options: object) -> str:
    """What `run` says at the end, without its label."""
    done = installed.run("-m", "pythonaudit", "run", "--label", "x", "--dir", directory, "--", *command, **options)
    line = done.stderr.splitlines()[-1]
    assert line.startswith("pythonaudit: run x: ")
    assert "pythonaudit log" not in line
    return line.removeprefix("pythonaudit: run x: ")


def test_a_command_without_python_is_normal(installed_here: Installed, tmp_path: Path) -> None:
    line = last_line(installed_here, tmp_path / "audit", "true")
    see = f"pythonaudit doctor --dir {tmp_path}/audit"
    assert line == f"no Python process was recorded; if there was one, see: {see}"
    assert list((tmp_path / "audit" / "journal").iterdir()) == []  # nothing is left of looking


def test_a_limit_of_the_size_of_files(installed_here: Installed, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_240, 10_240))

    line = last_line(installed_here, tmp_path / "audit", installed_here.python, *PYTHON, preexec_fn=limit)
    assert line.startswith("nothing was recorded: no segment can be made in ")
    assert line.endswith("File too large; raise the limit of file sizes (ulimit -f)")


def test_the_limit_of_the_directory(installed_here: Installed, tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    installed_here.record("pass", directory=directory)
    (segment,) = directory.glob("journal/*/*.pyaudit")
    segment.with_name(f"{0:016x}-{0:032x}-000000.pyaudit").write_bytes(b"x" * (8 << 20))
    (segment.parent / "usage").unlink()
    env = installed_here.environment(PYTHONAUDIT_MAX_BYTES="8M", PYTHONAUDIT_ON_FULL="stop")
    line = last_line(installed_here, directory, installed_here.python, *PYTHON, env=env)
    box = f"{directory}/journal/u{os.geteuid()}"
    remedy = "raise it, or remove old segments"
    assert line == f"nothing was recorded: {box} has reached PYTHONAUDIT_MAX_BYTES (8388608 bytes); {remedy}"


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk(installed_here: Installed, full_disk: Path) -> None:
    line = last_line(installed_here, full_disk / "audit", installed_here.python, *PYTHON)
    assert line.startswith("nothing was recorded: no segment can be made in ")
    assert line.endswith("No space left on device; make room there")


def test_a_journal_that_cannot_be_read(installed_here: Installed, tmp_path: Path) -> None:
    spoil = "for file in $1/journal/*/*.pyaudit; do printf garbage | dd of=$file conv=notrunc; done 2>/dev/null"
    script = f'"$2" -I -c "print(1)"; {spoil}'
    line = last_line(
        installed_here, tmp_path / "audit", "sh", "-c", script, "sh", tmp_path / "audit", installed_here.python
    )
    assert line == f"nothing that can be read was recorded; see: pythonaudit doctor --dir {tmp_path}/audit"
