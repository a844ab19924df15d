"""What README.md shows at a prompt works as it stands."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.commands import IS_INSTALLED
from tests.conftest import ROOT, TIMEOUT_SECONDS, Installed


def shown_commands() -> list[str]:
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [line for line in lines if not line.startswith("pip ")]


def test_the_commands_of_the_readme(installed_here: Installed, tmp_path: Path) -> None:
    """In the order of the page: what is recorded first is what is looked at afterwards."""
    commands = shown_commands()
    assert "pythonaudit run -- python login.py" in commands
    # The recorder is in a bare environment, as on a host; the reader is this test's own.
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python").symlink_to(installed_here.python)
    bare = shlex.join([str(installed_here.python), "-m", "pythonaudit"])
    reader = shlex.join(["env", f"PYTHONPATH={ROOT / 'src'}", sys.executable, "-m", "pythonaudit"])
    (tools / "pythonaudit").write_text(
        f'#!/bin/sh\ncase $1 in run|env|doctor) exec {bare} "$@" ;; *) exec {reader} "$@" ;; esac\n'
    )
    (tools / "pythonaudit").chmod(0o755)
    shutil.copy(ROOT / "examples" / "login.py", tmp_path)
    env = installed_here.environment(
        PYTHONAUDIT_DIR=tmp_path / "audit", PATH=f"{tools}:/usr/bin:/bin", PYENV_ROOT="/nowhere"
    )
    said = {}
    for command in commands:
        if command == "pythonaudit bench" and not IS_INSTALLED:
            continue  # it measures the environment that it is run from
        done = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        said[command] = done.stdout + done.stderr
    assert "2 processes" in said["pythonaudit run -- python login.py"]
    assert "nothing lost" in said["pythonaudit run -- python login.py"]
    log = said["pythonaudit log --category application"]
    assert "User logged in: username=johndoe, ip=192.168.0.1" in log
    assert "password=***" in log
    assert "correct-horse" not in "".join(said.values())
    assert said["pythonaudit tree --run last"].startswith(
        "2 recorded, 0 not-python, 0 not-recorded, 0 unexplained\n"
    )
    assert said["pythonaudit diff main canary"].endswith("no difference\n")
    assert "Nothing was lost." in said["pythonaudit stats -n 4"]
