"""`pythonaudit export --to` and the agent's exports, with real processes, servers and kills."""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from pythonaudit.cli import main
from pythonaudit.export.targets.webhook import VARIABLE
from tests.agents import figures, running, serving, until
from tests.agents import start as start_agent
from tests.commands import environment, run, start
from tests.conftest import Installed
from tests.programs import programs
from tests.shipping import threads_in_order

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()] if path.exists() else []


def logged(directory: Path, *words: str) -> list[str]:
    done = run(directory, "log", "--format", "jsonl", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["id"] for line in done.stdout.splitlines()]


def export(directory: Path, to: str, *words: str) -> subprocess.CompletedProcess[str]:
    return run(directory, "export", "--to", to, *words)


class Receiver:
    """Takes webhooks, unless it is told to answer something else.

    Attributes:
        answers: statuses that it answers first.
        ids: of the events that it took, in order.
    """

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.ids: list[str] = []
        self.lock = threading.Lock()

    @contextmanager
    def serving(self) -> Iterator[str]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with receiver.lock:
                    status = receiver.answers.pop(0) if receiver.answers else 200
                    if status == 200:
                        receiver.ids += [event["id"] for event in body["events"]]
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Nothing is printed."""

        with serving(Handler) as address:
            yield "webhook+" + address


@pytest.fixture(scope="module")
def store(installed_here: Installed) -> Path:
    """Two runs, one of them archived."""
    directory = installed_here.new_directory()
    program = 'import sys, os\nfor n in range(9): sys.audit("app.event", n)\nopen("/etc/passwd").close()'
    installed_here.record(program, directory=directory, settings={"PYTHONAUDIT_RUN": "first"})
    assert run(directory, "ingest").returncode == 0
    installed_here.record(program, directory=directory, settings={"PYTHONAUDIT_RUN": "second"})
    return directory


@pytest.mark.parametrize("words", [(), ("--run", "second"), ("--where", "event = 'open'", "--path", "/etc/*")])
def test_standard_output_has_what_log_has(store: Path, words: tuple[str, ...]) -> None:
    done = export(store, "-", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run(store, "log", "--format", "jsonl", *words).stdout != ""


def test_a_file_gets_each_event_once(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    words = "--event", "app.*"
    first = export(store, f"file:{path}", *words)
    assert (first.returncode, first.stdout, first.stderr) == (
        0, "", f"pythonaudit: 18 events went to file:{path}\n"
    )  # fmt: skip
    assert ids(path) == logged(store, *words)
    again = export(store, f"file:{path}", *words)
    assert again.stderr == f"pythonaudit: 0 events went to file:{path}\n"
    export(store, f"file:{path}", *words, "--again")
    assert Counter(ids(path)) == dict.fromkeys(logged(store, *words), 2)
    ecs = export(store, f"file:{path}.ecs", *words, "--format", "ecs")
    assert ecs.returncode == 0, ecs.stderr
    assert len(Path(f"{path}.ecs").read_text().splitlines()) == 18


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--to", "smtp://here"), 2, "smtp://here: no target 'smtp'"),
        (("--to", "nonsense"), 2, "--to nonsense: no address, and no export of the configuration"),
        (("--to", "webhook+https://user:secret@here"), 2, "webhook+https://…: an address holds no user"),
        (("--to", "file:/tmp/x?colour=red"), 2, "file:/tmp/x: no option colour"),
        (("--to", "-", "--format", "word"), 2, "-: format='word': one of jsonl"),
        (("--to", "-", "--force"), 2, "--force and --to do not go together"),
        (("--evidence", "x.zip", "--follow"), 2, "--follow and --evidence do not go together"),
        (("--to", "webhook+https://127.0.0.1:9/"), 3, "webhook+https://127.0.0.1:9/: no secret to sign with"),
        (("--to", "file:/nowhere/at/all"), 3, "file:/nowhere/at/all: No such file or directory"),
    ],
)
def test_mistakes_are_one_line(
    store: Path, words: tuple[str, ...], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--dir", str(store), "export", *words]) == status
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[-1].startswith(f"pythonaudit: {said}"), err
    assert "Traceback" not in err and "secret@" not in err


def test_nothing_recorded_is_said(tmp_path: Path) -> None:
    done = export(tmp_path / "none", "-")
    assert done.returncode == 3 and len(done.stderr.splitlines()) == 1


def test_a_target_that_is_away_ends_with_3(store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    to = f"webhook+http://127.0.0.1:{port}/"
    done = run(store, "export", "--to", to, "--run", "first", env=environment(**{VARIABLE: SECRET}))
    assert done.returncode == 3
    *_, none, last = done.stderr.splitlines()
    assert none == f"pythonaudit: 0 events went to {to}"
    assert last.startswith(f"pythonaudit: {to}: Connection refused")
    assert SECRET not in done.stderr


def test_killed_at_any_time_it_loses_nothing(installed_here: Installed, tmp_path: Path) -> None:
    """A program that goes on, an exporter that is killed and started again, an archive that grows meanwhile."""
    path, kills = tmp_path / "events.json", 4
    to = f"file:{path}"
    words = "--event", "app.event"
    with programs(installed_here, tmp_path, 2) as several:
        for number in range(kills):
            raised = [program.raise_events(700) for program in several]
            exporter = start(tmp_path, "export", "--to", to, "--follow", *words)
            until(lambda n=number: len(set(ids_so_far(path))) > 1400 * n + 100 * n)
            exporter.kill()
            exporter.communicate()
        run(tmp_path, "ingest")
        raised = [program.raise_events(1) for program in several]
        exporter = start(tmp_path, "export", "--to", to, "--follow", *words)
        until(lambda: len(set(ids_so_far(path))) == sum(raised))
        exporter.send_signal(signal.SIGTERM)
        _, said = exporter.communicate()
        assert exporter.returncode == 0 and f"went to {to}" in said, said
    found = ids(path)
    assert sorted(set(found)) == sorted(logged(tmp_path, *words))
    assert len(found) - len(set(found)) <= kills * 1400, "what is on its way comes once more"
    once = list(dict.fromkeys(found))
    assert threads_in_order(once)
    assert export(tmp_path, to, *words).stderr == f"pythonaudit: 0 events went to {to}\n"


def ids_so_far(path: Path) -> list[str]:
    """The same while it is being written."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line)["id"] for line in text.splitlines() if line.endswith("}")]


def configure(directory: Path, *exports: dict[str, Any], more: str = "") -> None:
    tables = [
        "[[export]]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in export.items()) for export in exports
    ]
    (directory / "config.toml").write_text(more + "\n".join(tables))


def exports_of(directory: Path) -> dict[str, Any]:
    return figures(directory).get("exports", {})


def test_the_agent_ships_to_all_of_them(installed_here: Installed, tmp_path: Path) -> None:
    """One target takes all, one is in trouble first, one is never there: nobody waits for another."""
    directory, path = tmp_path / "audit", tmp_path / "events.json"
    directory.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        metrics = free.getsockname()[1]
    receiver = Receiver(500, 429)
    with receiver.serving() as address:
        configure(
            directory,
            {"name": "file", "to": f"file:{path}", "event": ["app.event"]},
            {"name": "hook", "to": address, "source": ["application"], "secret": SECRET},
            {"name": "gone", "to": "webhook+http://127.0.0.1:9/", "secret": SECRET},
            more=f'[agent]\nmetrics = "127.0.0.1:{metrics}"\n',
        )
        checked = run(directory, "config", "check")
        assert checked.returncode == 0 and SECRET not in checked.stdout + checked.stderr
        assert 'export[1].options = ["secret"]' in checked.stdout
        with running(directory) as agent, programs(installed_here, directory) as (program,):
            for _ in range(3):
                raised = program.raise_events(50)
                until(lambda n=raised: len(ids(path)) == n)
            until(lambda: len(receiver.ids) >= raised)
            until(lambda: exports_of(directory).get("hook", {}).get("sent", 0) >= raised)
            until(lambda: exports_of(directory)["file"] == {"sent": raised, "refused": 0, "gone": 0})
            until(lambda: "Connection refused" in exports_of(directory)["gone"].get("trouble", ""))
            until(lambda: "behind" in exports_of(directory)["gone"])
            assert exports_of(directory)["gone"]["sent"] == 0
            assert agent.poll() is None
            status = run(directory, "status")
            assert status.returncode == 1 and f"file: {raised} events sent" in status.stdout
            assert "export gone, " in status.stdout
            text = urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics").read().decode()
            assert f'pythonaudit_export_events_sent_total{{export="file"}} {raised}.0' in text
            assert 'pythonaudit_export_behind_seconds{export="gone"} ' in text
    assert ids(path) == logged(directory, "--event", "app.event")
    assert set(ids(path)) <= set(receiver.ids) and len(receiver.ids) == len(set(receiver.ids))
    again = export(directory, "file")
    assert again.stderr == f"pythonaudit: 0 events went to file:{path}\n"


def test_an_agent_that_is_killed_goes_on_where_it_was(installed_here: Installed, tmp_path: Path) -> None:
    directory, path = tmp_path / "audit", tmp_path / "events.json"
    directory.mkdir()
    configure(directory, {"name": "file", "to": f"file:{path}", "event": ["app.event"]})
    with programs(installed_here, directory) as (program,):
        for number in range(3):
            program.raise_events(2000)
            agent = start_agent(directory)
            until(lambda n=number: len(set(ids_so_far(path))) > 2000 * n)
            agent.kill()
            agent.communicate()
        raised = program.raise_events(1)
    with running(directory):
        until(lambda: len(set(ids_so_far(path))) == raised)
    found = ids(path)
    assert sorted(set(found)) == sorted(logged(directory, "--event", "app.event"))
    assert threads_in_order(list(dict.fromkeys(found)))


@pytest.mark.parametrize(
    ("export", "said"),
    [
        ({"name": "x"}, "export[0]: has no to"),
        ({"name": "x", "to": "smtp://here"}, "export x: smtp://here: no target 'smtp'"),
        ({"name": "x", "to": "file:/tmp/x", "colour": "red"}, "export x: file:/tmp/x: no option colour"),
        ({"name": "../x", "to": "file:/tmp/x"}, "export[0].name = '../x': a short name"),
        ({"name": "x", "to": "-", "category": ["fil"]}, "export[0].category = ['fil']: there are application"),
        ({"name": "x", "to": "-", "event": "open"}, "export[0].event = 'open': a list of texts"),
        ({"name": "x", "to": "-", "secret": ["s3cret"]}, "export[0].secret: a text or a number"),
    ],
)
def test_what_makes_no_sense_in_the_configuration(
    tmp_path: Path, export: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(tmp_path, export)
    for words in (("config", "check"), ("agent",)):
        assert main(["--dir", str(tmp_path), *words]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "agent" not in line]
        assert said in line and "s3cret" not in line
