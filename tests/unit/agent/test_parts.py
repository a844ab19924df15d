"""The agent's parts, each alone: problems, notifying, presence, publishing, tasks, and when archiving is due."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from pythonaudit.agent import archiving, problems, publish
from pythonaudit.agent.archiving import Archiving
from pythonaudit.agent.config import Checkpoints
from pythonaudit.agent.figures import Figures
from pythonaudit.agent.notify import Notifier
from pythonaudit.agent.presence import Presence, is_running, read_status
from pythonaudit.agent.problems import Problems
from pythonaudit.agent.publish import Publisher
from pythonaudit.agent.tasks import Task, Worker, run_task
from pythonaudit.archive.sealer import Sealer
from pythonaudit.errors import StoreError
from pythonaudit.integrity.writer import Writer
from tests.agents import serving, until


def test_a_kind_of_problem_is_told_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("pythonaudit.agent.problems.time.monotonic", lambda: now)
    told: list[str] = []
    noted = Problems(told.append)
    for number in range(10):
        noted.note("disk", f"disk {number}")
    noted.note("other", "other")
    assert (told, noted.count) == (["disk 0", "other"], 11)
    now += 61
    noted.note("disk", "disk again")
    assert told[-1] == "disk again"
    assert [text for _, text in noted.latest] == told


def test_what_is_kept_of_problems_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems, "_KINDS", 5)
    told: list[str] = []
    noted = Problems(told.append)
    for number in range(1000):
        noted.note(f"kind {number}", "x" * 10_000)
    assert noted.count == 1000
    assert len(told) == 6, "as many kinds as there may be, and the others together"
    assert len(noted.latest) == 6 and len(told[0]) == 500


def test_figures_are_json() -> None:
    figures = Figures(sealed=5, losses={7: Counter(evicted=3)})
    said = figures.to_dict()
    assert (said["sealed"], said["losses"]) == (5, {"7": {"evicted": 3}})


@pytest.mark.parametrize("is_abstract", [False, True])
def test_systemd_is_told(tmp_path: Path, is_abstract: bool) -> None:
    address = f"\0pythonaudit-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(30)
        environ = {"NOTIFY_SOCKET": address.replace("\0", "@"), "WATCHDOG_USEC": "60000000"}
        notifier = Notifier(environ | {"WATCHDOG_PID": str(os.getpid())})
        notifier.ready("here")
        notifier.alive()
        notifier.alive()  # too early
        notifier.status("well")
        notifier.status("well")
        notifier.stopping()
        said = [listener.recv(100).decode() for _ in range(4)]
    assert said == ["READY=1\nSTATUS=here", "WATCHDOG=1", "STATUS=well", "STOPPING=1"]
    notifier.status("nobody listens any more")
    notifier.close()


@pytest.mark.parametrize(
    "environ",
    [{}, {"NOTIFY_SOCKET": "relative"}, {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}],
)
def test_nobody_listens(environ: dict[str, str]) -> None:
    notifier = Notifier(environ)
    notifier.ready("here")
    notifier.alive()
    notifier.close()


def test_only_one_agent(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    first = Presence(tmp_path)
    assert is_running(tmp_path)
    with pytest.raises(StoreError, match=r"runs in .* already$"):
        Presence(tmp_path)
    first.tell({"pid": 7})
    with pytest.raises(StoreError, match="already, process 7"):
        Presence(tmp_path)
    first.end()
    assert not is_running(tmp_path)
    assert read_status(tmp_path) == {"pid": 7}, "what it said last"
    Presence(tmp_path).end()


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000])
def test_what_an_agent_said_can_be_anything(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "status").write_bytes(content)
    assert read_status(tmp_path) == {}


@contextmanager
def server(status: int, gate: threading.Event | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server that answers so; with a gate, only when that is open."""
    posted: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            if gate is not None:
                gate.wait()
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as url:
        yield url, posted


def make_publisher(**places: Any) -> tuple[Publisher, Figures, list[str]]:
    figures, told = Figures(), []
    return Publisher(Checkpoints(**places), figures, Problems(told.append)), figures, told


def test_the_newest_checkpoint_is_posted_and_written(tmp_path: Path) -> None:
    with server(200) as (url, posted):
        publisher, figures, told = make_publisher(url=url, file=tmp_path / "checkpoint")
        for number in range(50):
            publisher.offer(f"note {number}")
        publisher.offer(None)
        publisher.end(30)
    assert posted[-1] == (tmp_path / "checkpoint").read_text() == "note 49"
    assert (figures.posted, figures.post_failures, told) == (len(posted), 0, [])


@pytest.mark.parametrize("status", [500, 302, 404])
def test_a_server_that_refuses(status: int) -> None:
    with server(status) as (url, posted):
        publisher, figures, told = make_publisher(url=url)
        publisher.offer("note")
        until(lambda: figures.post_failures)
        publisher.end(30)
    assert posted == ["note"], "and nowhere else"
    assert told == [f"a checkpoint did not get to {url}: answered {status}"]


def test_nobody_waits_for_a_slow_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers when all has been offered; had each one been waited for, each would have got there."""
    monkeypatch.setattr(publish, "TIMEOUT_SECONDS", 0.2)
    gate = threading.Event()
    with server(200, gate) as (url, posted):
        publisher, figures, told = make_publisher(url=url)
        for number in range(1000):
            publisher.offer(f"note {number}")
        until(lambda: figures.post_failures)
        gate.set()
        publisher.end(30)
    assert len(posted) < 1000
    assert "timed out" in told[0]


def test_no_place_is_there(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        publisher, figures, _ = make_publisher(url=url, file=tmp_path / "no" / "such")
        publisher.offer("note")
        until(lambda: figures.post_failures == 2)
        publisher.end(30)
    publisher, _, _ = make_publisher()
    publisher.offer("note")
    publisher.end(30)


def test_tasks_are_done_again_and_one_that_fails_keeps_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pythonaudit.agent.tasks._AFTER_FAILURE_SECONDS", 0.01)
    done: Counter[str] = Counter()
    told: list[str] = []

    def fail() -> None:
        done["fail"] += 1
        raise StoreError("no room", hint="make some")

    tasks = [Task("failing", 0.01, fail), Task("counting", 0.01, lambda: done.update(["count"]))]
    worker = Worker(tasks, Problems(told.append))
    worker.start()
    until(lambda: done["fail"] > 2 and done["count"] > 2)
    worker.end()
    assert told == ["failing: no room; make some"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left", "/x"), "a task: [Errno 28] No space left: '/x'"),
        (KeyError("k"), "a task: KeyError('k')"),
    ],
)
def test_whatever_a_task_raises_is_told(error: Exception, text: str) -> None:
    told: list[str] = []

    def fail() -> None:
        raise error

    assert not run_task(Task("a task", 0, fail), Problems(told.append))
    assert told == [text]


class Closed:
    """A segment that has closed, as far as archiving looks at it."""

    def __init__(self, number: int, used: int = 4096, is_closed: bool = True) -> None:
        self.head = type("Head", (), {"key": (f"{number:032x}", 0, 0)})()
        self.used, self.is_closed, self.is_gone = used, is_closed, False


def test_when_archiving_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("pythonaudit.agent.archiving.time.monotonic", lambda: now)
    monkeypatch.setattr(archiving, "release", lambda: None)
    told: list[str] = []
    figures = Figures()
    sealer = Sealer(Writer(tmp_path), if_any=True)
    one = Archiving(tmp_path, (), (), sealer, figures, Problems(told.append))
    assert one.is_due(), "whatever there was before"
    one.archive()
    assert not one.is_due()
    one.add([Closed(1)])  # type: ignore[list-item]
    assert not one.is_due()
    now += archiving.WAIT_SECONDS
    assert one.is_due(), "it has waited"
    (tmp_path / "journal").mkdir()
    one.archive()
    assert not one.is_due() and one.waiting() == set()
    one.add(Closed(number, used=4 << 20) for number in range(2, 17))  # type: ignore[misc]
    assert not one.is_due()
    one.add([Closed(20, used=4 << 20)])  # type: ignore[list-item]
    assert one.is_due(), "64 MiB"
    assert figures.closed_bytes == 64 << 20
    one.archive()
    lingering = Closed(30, is_closed=False)
    one.add([lingering])  # type: ignore[list-item]
    now += archiving.WAIT_SECONDS
    assert not one.is_due(), "its process is there still"
    one.archive()
    assert len(one.waiting()) == 1
    lingering.is_closed = True
    now += archiving.WAIT_SECONDS
    assert one.is_due()
    assert told == []
