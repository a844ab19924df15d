"""The agent with real recorded processes: everything is sealed and archived, once, and it says how it is."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from pythonaudit.integrity import notes
from pythonaudit.integrity.log import Log
from pythonaudit.journal.reader import Journal
from tests.agents import begin, check, figures, records, running, sealed, serving, start, told, until
from tests.commands import COMMAND, environment, run, show
from tests.conftest import Installed
from tests.programs import programs
from tests.recorded import SOAK


def test_events_are_sealed_as_they_come_and_archived_at_the_end(installed: Installed, tmp_path: Path) -> None:
    begin(tmp_path)
    with running(tmp_path) as agent:
        with programs(installed, tmp_path) as (program,):
            for _ in range(3):
                raised = program.raise_events(10)
                until(lambda n=raised: sealed(tmp_path) >= n)
        assert agent.poll() is None
    assert [r["action"] for r in records(tmp_path, "agent")] == ["start", "stop"]
    assert records(tmp_path)[-1]["record"] == "agent", "the last that is said"
    assert check(tmp_path)["archived"] > 30
    assert Journal(tmp_path).heads() == []
    assert [sorted(numbers) for numbers in told(tmp_path).values()] == [list(range(30))]


@pytest.mark.skipif(SOAK == 1, reason="a million events: with SOAK=2")
def test_what_closes_is_archived_and_its_files_are_used_again(installed_here: Installed, tmp_path: Path) -> None:
    """Without a stop: enough has closed."""
    begin(tmp_path)
    with running(tmp_path), programs(installed_here, tmp_path, PYTHONAUDIT_EVENTS="app") as (program,):

        def raise_some() -> int:
            raised = program.raise_events(50_000)
            until(lambda: figures(tmp_path).get("sealed", 0) >= raised)
            return raised

        while raise_some() < 900_000:  # 80 bytes each
            pass
        until(lambda: figures(tmp_path)["archived"])
        raised = [raise_some() for _ in range(5)][-1]
        (newest,) = sorted(Journal(tmp_path).heads(), key=lambda head: head.header.sequence)[-1:]
        assert newest.header.drained > 0
    assert check(tmp_path) == {"archived": raised, "gone": 0}
    assert list(told(tmp_path).values()) == [list(range(raised))]


def test_many_processes_at_once(installed_here: Installed, tmp_path: Path) -> None:
    count = 500 if SOAK > 1 else 50
    begin(tmp_path)
    with running(tmp_path):
        with programs(installed_here, tmp_path, count, PYTHONAUDIT_EVENTS="app") as several:
            for _ in range(3):
                for program in several:
                    program.raise_events(20)
            until(lambda: sealed(tmp_path) >= 60 * count)
            until(lambda: figures(tmp_path)["processes"] == count)
        until(lambda: figures(tmp_path)["processes"] == 0)
    assert check(tmp_path) == {"archived": 60 * count, "gone": 0}
    assert list(told(tmp_path).values()) == [list(range(60))] * count


def test_without_keys_it_archives_and_says_so_and_seals_when_there_are(
    installed_here: Installed, tmp_path: Path
) -> None:
    with running(tmp_path) as agent:
        with programs(installed_here, tmp_path) as (program,):
            program.raise_events(10)
            until(lambda: figures(tmp_path).get("processes") == 1)
            key = begin(tmp_path)
            program.raise_events(10)
            until(lambda: sealed(tmp_path) >= 20)
        assert agent.stderr and agent.stderr.readline() == (
            "pythonaudit: nothing is sealed here; begin with 'pythonaudit keys init'\n"
        )
    check(tmp_path)
    assert notes.parse_vkey(key)
    assert [sorted(numbers) for numbers in told(tmp_path).values()] == [list(range(20))]


def test_only_one(tmp_path: Path) -> None:
    begin(tmp_path)
    with running(tmp_path) as agent:
        done = run(tmp_path, "agent")
        assert (done.returncode, done.stdout) == (3, "")
        expected = f"an agent runs in {tmp_path} already, process {agent.pid}; one is enough"
        assert done.stderr == f"pythonaudit: {expected}\n"
        assert run(tmp_path, "status").returncode == 0
    assert run(tmp_path, "agent", "--config", "/nowhere").returncode == 2


def test_interrupted_by_the_keyboard(tmp_path: Path) -> None:
    begin(tmp_path)
    agent = start(tmp_path)
    agent.send_signal(2)
    out, said = agent.communicate(timeout=60)
    assert (agent.returncode, out) == (0, "")
    assert said.splitlines()[0] == f"pythonaudit: agent started in {tmp_path}"
    assert said.splitlines()[-1].startswith("pythonaudit: agent stopped: 0 processes, ")


def test_nothing_is_there_yet(installed_here: Installed, tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "below"
    with running(directory), programs(installed_here, directory) as (program,):
        program.raise_events(5)
        until(lambda: figures(directory).get("processes") == 1)
    assert [sorted(numbers) for numbers in told(directory).values()] == [list(range(5))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "no TOML"),
        ("[keys]\nepoch = 5", "keys.epoch = 5: a time such as"),
        ("[agent]\nmetrics = '0.0.0.0:80'", "agent.metrics = '0.0.0.0:80': a loopback address"),
        ("[agnt]", "agnt: no such setting; did you mean agent?"),
    ],
)
def test_a_configuration_that_makes_no_sense(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    for words in (("agent",), ("config", "check"), ("keys", "init"), ("status",)):
        done = run(tmp_path, *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert said in done.stderr
        assert done.stderr.startswith(f"pythonaudit: {tmp_path}/config.toml: ")


def test_what_is_in_force(tmp_path: Path) -> None:
    assert run(tmp_path, "config", "check").stdout.startswith("# no file: the defaults\nkeys.private = none\n")
    file = tmp_path / "other.toml"
    file.write_text("[checkpoints]\ninterval = '5s'\n[[hold]]\nname = 'case'\nreason = 'letter'\n")
    done = run(tmp_path, "config", "check", str(file))
    assert "checkpoints.interval = 5.0\n" in done.stdout
    assert 'hold[0].name = "case"\n' in done.stdout
    said = json.loads(run(tmp_path, "config", "check", "--format", "jsonl", str(file)).stdout)
    assert (said["path"], said["given"], said["keys"]["epoch"]) == (str(file), ["checkpoints", "hold"], 3600.0)


def test_keys_elsewhere_are_used_by_all(installed_here: Installed, tmp_path: Path) -> None:
    private = tmp_path / "memory" / "keys"
    directory = tmp_path / "audit"
    directory.mkdir()
    (directory / "config.toml").write_text(
        f"[keys]\nprivate = '{private}'\nepoch = '1s'\n[checkpoints]\ninterval = '1s'\n"
    )
    begin(directory)
    with running(directory), programs(installed_here, directory) as (program,):
        for _ in range(3):
            program.raise_events(5)
            epoch = len(records(directory, "key"))
            until(lambda n=epoch: len(records(directory, "key")) > n)
    assert not (directory / "keys").exists()
    assert len(os.listdir(private)) == 1
    assert run(directory, "ingest").returncode == 0
    assert run(directory, "keys", "rotate").returncode == 0
    check(directory)
    (private / os.listdir(private)[0]).unlink()
    done = run(directory, "agent")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "keys init --again" in done.stderr
    done = run(directory, "status")
    assert done.returncode == 1
    assert f"wrong        {private}: there is no key" in done.stdout


def test_silence_is_signed_and_settings_are_recorded(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[checkpoints]\ninterval = '1s'\n[access]\nrecord = false\n")
    begin(tmp_path)
    with running(tmp_path):
        until(lambda: len(records(tmp_path, "quiet")) >= 2)
    config.write_text("[checkpoints]\ninterval = '1s'\n")
    with running(tmp_path):
        pass
    with running(tmp_path):
        pass
    said = [(r["name"], r["value"]) for r in records(tmp_path, "setting")]
    assert len(said) == len(set(said))  # told when it changes
    said = [one for one in said if not one[0].startswith("retention.")]
    assert said == [("access.record", False), ("keys.epoch", 3600.0), ("access.record", True)]
    check(tmp_path)


def test_status(installed_here: Installed, tmp_path: Path) -> None:
    done = run(tmp_path, "status")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    begin(tmp_path)
    with programs(installed_here, tmp_path, PYTHONAUDIT_EVENTS="app") as (program,):
        program.raise_events(7)
        said = json.loads(run(tmp_path, "status", "--format", "jsonl").stdout)
        assert (said["agent"], said["events"], said["unsealed"], said["epoch"]) == (False, 7, 7, 0)
        with running(tmp_path) as agent:
            until(lambda: json.loads(run(tmp_path, "status", "--format", "jsonl").stdout)["unsealed"] == 0)
            said = json.loads(run(tmp_path, "status", "--format", "jsonl").stdout)
            assert (said["agent"], said["pid"], said["events"], said["wrong"]) == (True, agent.pid, 7, [])
        stale = tmp_path / "seal" / "checkpoint"
        os.utime(stale, (0, 0))
        done = run(tmp_path, "status")
        assert done.returncode == 1
        assert "no agent runs" in done.stdout


def test_metrics(installed_here: Installed, tmp_path: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    (tmp_path / "config.toml").write_text(f"[agent]\nmetrics = '127.0.0.1:{port}'\n")
    begin(tmp_path)

    def scrape() -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}

    with running(tmp_path), programs(installed_here, tmp_path, PYTHONAUDIT_EVENTS="app") as (program,):
        program.raise_events(50)
        until(lambda: scrape()["pythonaudit_events_sealed_total"] == 50)
        found = until(lambda: scrape() if scrape()["pythonaudit_processes_watched"] == 1 else None)
        assert found["pythonaudit_segments_watched"] == 1
        assert found["pythonaudit_problems_total"] == 0
        assert found["process_resident_memory_bytes"] > 1e7
        assert found["process_cpu_seconds_total"] > 0
        assert found["pythonaudit_lag_seconds"] > 0
        other = tmp_path / "other"
        other.mkdir()
        (other / "config.toml").write_text(f"[agent]\nmetrics = '127.0.0.1:{port}'\n")
        done = run(other, "agent")
        assert (done.returncode, done.stderr.count("\n")) == (3, 1)
        assert f"metrics at 127.0.0.1:{port}: Address already in use" in done.stderr


def test_checkpoints_go_to_other_places(installed_here: Installed, tmp_path: Path) -> None:
    posted: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    file = tmp_path / "elsewhere"
    with serving(Server) as url:
        (tmp_path / "config.toml").write_text(f"[checkpoints]\nfile = '{file}'\nurl = '{url}web-1'\n")
        key = notes.parse_vkey(begin(tmp_path))
        with running(tmp_path), programs(installed_here, tmp_path) as (program,):
            program.raise_events(5)
            until(lambda: posted and file.exists())
    assert file.read_text() == posted[-1] == Log(tmp_path).read_checkpoint()
    for note in posted:
        assert key.open(note)


def test_systemd_is_told(tmp_path: Path) -> None:
    begin(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(60)
        env = environment(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="300000")
        said = ""
        with running(tmp_path, env=env):
            while "WATCHDOG=1" not in said or "READY=1" not in said:
                said += listener.recv(4096).decode() + "\n"
        while "STOPPING=1" not in said:
            said += listener.recv(4096).decode() + "\n"
    lines = said.splitlines()
    assert any(line.startswith("STATUS=0 processes, 0 events sealed") for line in lines)


def test_on_a_terminal(tmp_path: Path) -> None:
    begin(tmp_path)
    ended = threading.Timer(4, lambda: os.kill(int(pid()), 15))

    def pid() -> int:
        return int(until(lambda: json.loads((tmp_path / "agent" / "status").read_text())["pid"]))

    ended.start()
    shown = show(tmp_path, "agent", columns=100)
    assert shown.status == 0
    assert "0 processes, 0 events sealed, 0 archived" in shown.text


def test_a_recorded_agent_does_not_record_itself(installed_here: Installed, tmp_path: Path) -> None:
    begin(tmp_path)
    env = environment(PYTHONAUDIT="1", PYTHONAUDIT_DIR=str(tmp_path))
    with running(tmp_path, env=env):
        pass
    assert len(told(tmp_path, "*")) <= 1, "the start of the command, at most"
    command = [installed_here.python, "-m", "pythonaudit", "--dir", tmp_path, "run", "-q", "--", *COMMAND, "agent"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.endswith("the agent cannot be recorded itself; start it without 'pythonaudit run'\n")
