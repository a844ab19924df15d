"""What a program is on this host, also if somebody has laid a trap there."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pythonaudit.query.attempts import ProcessRow
from pythonaudit.query.commands import File
from pythonaudit.query.programs import Programs, look_nowhere


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """With one directory on PATH, and one that is relative."""
    return Programs(f"{tmp_path}:bin")


def make(path: Path, text: bytes) -> str:
    path.write_bytes(text)
    path.chmod(0o755)
    return str(path)


def test_what_files_are(programs: Programs, tmp_path: Path) -> None:
    binary = make(tmp_path / "python3.12", b"\x7fELF")
    (tmp_path / "tool").symlink_to(binary)
    assert programs.look(str(tmp_path / "tool"), None) == File("binary", "python3.12")
    assert programs.look("tool", None) == File("binary", "python3.12")
    script = make(tmp_path / "script", b"#! /usr/bin/env -S python3 -u \nimport this")
    assert programs.look(script, None) == File("script", "script", ("/usr/bin/env", "-S python3 -u"))
    assert programs.look(make(tmp_path / "odd", b"#!"), None) == File("script", "odd", ())
    assert programs.look("./script", str(tmp_path)) == programs.look(script, None)


def test_what_is_not_there(programs: Programs, tmp_path: Path) -> None:
    for program in ("nosuch", str(tmp_path / "nosuch"), str(tmp_path), f"{make(tmp_path / 'file', b'')}/below"):
        assert programs.look(program, None) == File("missing")


def test_what_cannot_be_said(programs: Programs, tmp_path: Path) -> None:
    assert programs.look("./script", None) is None
    assert programs.look("nul\0", None) is None
    assert programs.look("/proc/self/exe", None) is None
    assert programs.look("/srv/../proc/self/exe", None) is None
    assert programs.look("/" + "x" * 5000, None) is None


def test_no_trap_holds_it(programs: Programs, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert programs.look(str(tmp_path / "fifo"), None) == File("missing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert programs.look(str(tmp_path / "loop"), None) is None


def test_files_of_others_are_not_looked_at(programs: Programs) -> None:
    here = ProcessRow("a", host=os.uname().nodename, pid_namespace=os.stat("/proc/self/ns/pid").st_ino)
    assert programs.look_for(here) == programs.look
    assert programs.look_for(replace(here, pid_namespace=0)) == programs.look
    for there in (replace(here, pid_namespace=1), replace(here, host="elsewhere"), replace(here, host=None)):
        assert programs.look_for(there) is look_nowhere
