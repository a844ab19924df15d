"""The agent detects: alerts are told once, as events of the trail, and can be shown and closed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.agents import begin, figures, running, serving, until
from tests.agents import start as start_agent
from tests.commands import run
from tests.conftest import Installed
from tests.programs import programs

RULE = """\
title: Order Of A Thousand
id: 5d1c1f5e-6f0b-4f0c-9d0e-0d6b9c6f6a11
status: test
description: Somebody ordered much.
logsource:
  product: python
  service: audit
detection:
  selection:
    event: app.event
    fields.arg0: {number}
  condition: selection
level: high
"""


def write_rule(directory: Path, number: int) -> None:
    (directory / "rules").mkdir(parents=True, exist_ok=True)
    (directory / "rules" / "python_audit_order.yml").write_text(RULE.replace("{number}", str(number)))


def alerts(directory: Path, *words: str) -> list[dict[str, Any]]:
    done = run(directory, "alerts", "--all", "--format", "jsonl", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def detection(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = figures(directory).get("detection", {})
    return found


@contextmanager
def receiving() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A service that messages are sent to: its address for apprise, and what came."""
    came: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Nothing is printed."""

    with serving(Handler) as address:
        yield address.replace("http://", "json://"), came


def test_from_event_to_message_to_closing(installed_here: Installed, tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    write_rule(directory, 7)
    begin(directory)
    with receiving() as (address, messages):
        settings = f'[detect]\nnotify = ["{address}"]\nnotify_level = "high"\n'
        (directory / "config.toml").write_text(settings)
        checked = run(directory, "config", "check")
        assert checked.returncode == 0 and "json://" not in checked.stdout, checked.stdout
        with running(directory) as agent, programs(installed_here, directory) as (program,):
            until(lambda: detection(directory).get("rules"))
            program.raise_events(100)
            (told,) = until(lambda: alerts(directory))
            assert told["title"] == "Order Of A Thousand" and told["level"] == "high" and told["count"] == 1
            until(lambda: messages)
            assert messages[0]["title"].startswith("[high] Order Of A Thousand")
            assert f"pythonaudit alerts show {told['alert']}" in messages[0]["message"]
            shown = run(directory, "alerts", "show", told["alert"][:6])
            assert shown.returncode == 0, shown.stderr
            assert "Somebody ordered much." in shown.stdout and "app.event 7" in shown.stdout
            assert "processes\n  * " in shown.stdout
            closed = run(directory, "alerts", "close", told["alert"], "--reason", "as agreed")
            assert (closed.returncode, closed.stdout) == (0, f"closed: {told['alert']} Order Of A Thousand\n")
            assert run(directory, "alerts").stdout == ""
            again = run(directory, "alerts", "close", told["alert"], "--reason", "twice")
            assert again.returncode == 3 and "was closed by" in again.stderr
            assert agent.poll() is None
    (told,) = alerts(directory)
    assert told["closed"] == "as agreed"
    assert len(messages) == 1
    verified = run(directory, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    logged = run(directory, "log", "--event", "pythonaudit.alert*", "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["event"] for line in logged] == ["pythonaudit.alert", "pythonaudit.alert.closed"]


def test_an_agent_that_comes_back_repeats_nothing_and_misses_nothing(
    installed_here: Installed, tmp_path: Path
) -> None:
    directory = tmp_path / "audit"
    write_rule(directory, 150)
    (directory / "config.toml").write_text("[detect]\n")
    with programs(installed_here, directory) as (program,):
        agent = start_agent(directory)
        until(lambda: detection(directory).get("rules"))
        program.raise_events(100)
        until(lambda: detection(directory).get("events", 0) >= 100)
        agent.kill()
        agent.communicate()
        program.raise_events(100)
        for _ in range(2):
            with running(directory):
                until(lambda: alerts(directory))
                until(lambda: detection(directory).get("rules"))
    (told,) = alerts(directory)
    assert told["count"] == 1


def test_10_000_matches_are_one_alert(installed_here: Installed, tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    write_rule(directory, 0)
    path = directory / "rules" / "python_audit_order.yml"
    path.write_text(path.read_text().replace("    fields.arg0: 0\n", ""))
    (directory / "config.toml").write_text("[detect]\n")
    with running(directory), programs(installed_here, directory) as (program,):
        until(lambda: detection(directory).get("rules"))
        program.raise_events(10_000)
        until(lambda: detection(directory).get("events", 0) >= 10_000)
    (told,) = alerts(directory)
    assert told["count"] == 10_000


def test_a_forged_alert_is_none(installed_here: Installed, tmp_path: Path) -> None:
    """Whatever a program says of alerts is an event of that program, and no more."""
    fields = {"alert": "0" * 12, "rule": "x", "title": "Forged", "level": "high", "count": 1, "process": "0" * 32}
    fields |= {"first": "2026-01-01T00:00:00.000000000Z", "last": "2026-01-01T00:00:00.000000000Z"}
    installed_here.record(f"import sys; sys.audit('pythonaudit.alert', {fields!r})", directory=tmp_path)
    assert alerts(tmp_path) == []


def test_rules_that_cannot_be_used_are_a_trouble(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    write_rule(directory, 7)
    (directory / "rules" / "bad.yml").write_text("title: Bad\ndetection: 7\n")
    (directory / "config.toml").write_text("[detect]\n")
    with running(directory):
        trouble = until(lambda: detection(directory).get("trouble"))
        assert "bad.yml" in trouble
        status = run(directory, "status")
    assert status.returncode == 1 and "wrong        detection: " in status.stdout, status.stdout


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("show",), 2, "'alerts show' takes an ID"),
        (("list", "x"), 2, "'alerts list' takes no ID"),
        (("close", "x"), 2, "--reason goes with close"),
        (("show", "0123"), 3, "no alert '0123'"),
        (("--level", "hihg"), 2, "invalid choice: 'hihg'; did you mean 'high'?"),
    ],
)
def test_mistakes(
    installed_here: Installed, words: tuple[str, ...], status: int, said: str, main: Callable[..., tuple[int, str]],
    recorded: Path,
) -> None:  # fmt: skip
    found, err = main("--dir", str(recorded), "alerts", *words)
    assert found == status and said in err and len(err.splitlines()) == 1, err


@pytest.fixture(scope="module")
def recorded(installed_here: Installed) -> Path:
    return installed_here.record("pass").directory


@pytest.fixture
def main(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    from pythonaudit.cli import main

    return lambda *words: (main(list(words)), capsys.readouterr().err)
