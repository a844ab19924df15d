"""The command line given inside of what is recorded: it looks where its surroundings are recorded to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pythonaudit.journal.reader import Journal
from tests.conftest import Installed

OURS = ("-m", "pythonaudit")
RAISE = "import sys; sys.audit('shop.order.paid')"


@pytest.fixture
def recorded(installed_here: Installed, tmp_path: Path) -> Callable[..., str]:
    """Runs a shell command below `pythonaudit run`, with $python; gives what it prints."""

    def run(script: str, *words: str, **settings: str) -> str:
        env = installed_here.environment(
            PYTHONAUDIT_DIR=tmp_path / "audit", python=installed_here.python, PATH="/usr/bin:/bin", **settings
        )
        return installed_here.run(
            *OURS, "run", "-q", *words, "--", "sh", "-c", script, env=env, status=None
        ).stdout

    return run


def test_env_has_the_settings_in_force(recorded: Callable[..., str], tmp_path: Path) -> None:
    text = recorded('"$python" -m pythonaudit env', PYTHONAUDIT_EVENTS="security", PYTHONAUDIT_STACK="7")
    assert f"export PYTHONAUDIT_DIR={tmp_path}/audit\n" in text
    assert "export PYTHONAUDIT_EVENTS=security\n" in text
    assert "export PYTHONAUDIT_STACK=7\n" in text


def test_doctor_sees_the_settings_in_force(recorded: Callable[..., str], tmp_path: Path) -> None:
    text = recorded('"$python" -m pythonaudit doctor --format jsonl', PYTHONAUDIT_MAX_BYTES="64M")
    findings = [json.loads(line) for line in text.splitlines()]
    assert [f for f in findings if f["status"] == "broken"] == []
    texts = [f["text"] for f in findings]
    assert "PYTHONAUDIT=1: what is started from here is recorded" in texts
    assert any(f"{tmp_path}/audit/journal" in text and text.endswith(" of 64 MiB") for text in texts)


def test_a_run_in_a_run(recorded: Callable[..., str], tmp_path: Path) -> None:
    inner = f'"$python" -m pythonaudit run -q --label inner -- "$python" -I -c "{RAISE}"'
    recorded(inner, "--label", "outer", PYTHONAUDIT_STACK="0")
    journal = Journal(tmp_path / "audit")
    (paid,) = [event for event in journal.events() if event.event == "shop.order.paid"]
    assert paid.process.run == "inner"
    assert paid.process.attributes["settings"]["stack"] == 0


def test_a_command_of_another_installation(
    installed: Installed, installed_here: Installed, tmp_path: Path
) -> None:
    env = installed_here.environment(PYTHONAUDIT_DIR=tmp_path / "audit")
    command = [*OURS, "run", "-q", "--", installed.python, *OURS, "env"]
    assert f"PYTHONAUDIT_DIR={tmp_path}/audit\n" in installed_here.run(*command, env=env).stdout


def test_a_recorder_that_cannot_be_loaded(installed_here: Installed, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "sys.modules['pythonaudit._recorder'] = None\n"
        "from pythonaudit import cli\n"
        "sys.exit(cli.main(['env']))\n"
    )
    assert "export PYTHONAUDIT=1" in installed_here.run("-c", program).stdout
