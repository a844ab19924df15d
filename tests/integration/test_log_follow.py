"""`pythonaudit log -f`: what running processes raise, as it comes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import commands
from tests.conftest import Installed


@pytest.fixture
def ticking(installed_here: Installed, tmp_path: Path) -> Any:
    """Starts a recorded program that raises the event that it is told, one for each line."""
    program = "import sys\nprint('ready', flush=True)\nfor line in sys.stdin: sys.audit(line.rstrip(), 1)"
    environment = installed_here.environment(PYTHONAUDIT="1", PYTHONAUDIT_DIR=tmp_path)
    started: list[subprocess.Popen[str]] = []

    def start() -> Callable[[str], None]:
        process = subprocess.Popen(
            [installed_here.python, "-c", program],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        def tell(event: str) -> None:
            assert process.stdin is not None
            print(event, file=process.stdin, flush=True)

        return tell

    yield start
    for process in started:
        process.communicate()


@pytest.mark.parametrize(
    "words", [("--event", "tick *"), ("--where", "event LIKE 'tick %' AND stack ->> '$[0].line' = '3'")]
)
def test_follow(ticking: Callable[[], Callable[[str], None]], tmp_path: Path, words: tuple[str, ...]) -> None:
    """What was there comes first, then what running processes raise, also those that begin later."""
    first = ticking()
    first("tick 1")
    follower = commands.start(tmp_path, "log", "-f", *words, "--format", "jsonl")
    assert follower.stdout is not None and follower.stderr is not None

    def read() -> str:
        assert follower.stdout is not None
        event: str = json.loads(follower.stdout.readline())["event"]
        return event

    assert read() == "tick 1"
    for number in range(2, 6):
        first(f"tick {number}")
        assert read() == f"tick {number}"
    second = ticking()
    second("tick of another")
    assert read() == "tick of another"
    first("tick 6")
    assert read() == "tick 6"
    follower.send_signal(signal.SIGINT)
    assert (follower.wait(), follower.stdout.read(), follower.stderr.read()) == (130, "", "")
    follower.stdout.close()
    follower.stderr.close()


def test_follow_waits_for_the_first_recording(
    ticking: Callable[[], Callable[[str], None]], tmp_path: Path
) -> None:
    follower = commands.start(tmp_path, "log", "-f", "--event", "tick *", "--format", "jsonl")
    assert follower.stdout is not None and follower.stderr is not None
    line = f"pythonaudit: nothing is recorded in {tmp_path} yet; waiting\n"
    assert follower.stderr.readline() == line
    ticking()("tick 1")
    assert json.loads(follower.stdout.readline())["event"] == "tick 1"
    follower.send_signal(signal.SIGINT)
    assert (follower.wait(), follower.stdout.read(), follower.stderr.read()) == (130, "", "")
    follower.stdout.close()
    follower.stderr.close()


def test_follow_from_now_on(ticking: Callable[[], Callable[[str], None]], tmp_path: Path) -> None:
    tell = ticking()
    tell("tick old")
    tell("tick last")
    follower = commands.start(tmp_path, "log", "-f", "-n", "1", "--event", "tick *")
    assert follower.stdout is not None and follower.stderr is not None
    assert " tick last 1" in follower.stdout.readline()
    tell("tick new")
    assert " tick new 1" in follower.stdout.readline()
    follower.send_signal(signal.SIGINT)
    assert follower.wait() == 130
    follower.stdout.close()
    follower.stderr.close()


def test_a_real_program(installed: Installed) -> None:
    """Recorded in each interpreter, read by this one."""
    recording = installed.record('import sys\ndef act(): sys.audit("User logged in: username=johndoe")\nact()')
    done = commands.run(recording.directory, "log", "--source", "application", "--format", "jsonl")
    (event,) = map(json.loads, done.stdout.splitlines())
    assert event["event"] == "User logged in: username=johndoe"
    assert event["fields"] == {"username": "johndoe"}
    assert event["stack"][0] == {"file": "<string>", "line": 2, "function": "act"}
    table = commands.run(recording.directory, "log", "--source", "application").stdout
    assert re.fullmatch(r"\S+Z python\S*\[\d+\] +User logged in: username=johndoe  \[<string>:2 act\]\n", table)
