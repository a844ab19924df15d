"""Every command that docs/guide/auditors.md names works, in the order of the page, on what a real process recorded."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from pythonaudit.export import pci
from tests.conftest import ROOT, TIMEOUT_SECONDS, Installed

PAGE = ROOT / "docs" / "guide" / "auditors.md"


def commands() -> list[str]:
    text = PAGE.read_text()
    shown = re.findall(r"^\$ (pythonaudit .*)$|`(pythonaudit [^`]+)`", text, re.MULTILINE)
    return [one or other for one, other in shown]


def test_every_command_works(installed_here: Installed, tmp_path: Path) -> None:
    found = commands()
    assert len(found) > 20
    installed_here.record("open('/etc/passwd').close()", directory=tmp_path / "audit")
    (tmp_path / "bin").mkdir()
    reader = shlex.join(["env", f"PYTHONPATH={ROOT / 'src'}", sys.executable, "-m", "pythonaudit"])
    bare = shlex.join([str(installed_here.python), "-m", "pythonaudit"])
    (tmp_path / "bin" / "pythonaudit").write_text(
        f'#!/bin/sh\ncase $1 in run|env|doctor) exec {bare} "$@" ;; *) exec {reader} "$@" ;; esac\n'
    )
    (tmp_path / "bin" / "pythonaudit").chmod(0o755)
    env = installed_here.environment(PYTHONAUDIT_DIR=tmp_path / "audit", PATH=f"{tmp_path}/bin:/usr/bin:/bin")
    for command in dict.fromkeys(found):
        done = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert (tmp_path / "evidence.html").read_text().startswith("<!DOCTYPE html>")


def test_the_page_names_every_part_and_state() -> None:
    """What the report says of requirement 10, the page says as well."""
    text = PAGE.read_text()
    states = {pci.SHOWN, pci.PART, pci.NOT_SHOWN, pci.NOT_COVERED}
    assert set(re.findall(r"^\| (shown [^|]*|not [^|]*) \|", text, re.MULTILINE)) == states
    named = re.search(r"## PCI DSS 4, requirement 10\n(.*?)\n## ", text, re.DOTALL)
    assert named
    for number, _, _ in pci._PARTS:
        beginnings = [number.rsplit(".", depth)[0] for depth in range(3)]
        assert any(re.search(rf"\b{re.escape(one)}\b", named[1]) for one in beginnings), number
