"""A real collector between us and whatever counts: all arrives, as it was, also where the collector goes and comes."""

from __future__ import annotations

import re
import shlex
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pythonaudit.export.targets import Answer, Target, Unavailable, open_target, parse_address
from tests import otlp
from tests.collectors import Collector, Sink, arguments
from tests.conftest import ROOT, Installed
from tests.odd_servers import wait_until
from tests.property.test_any_export import contract
from tests.written import some_events

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event

PROGRAM = """
import sys, json, socket, subprocess, pythonaudit
with pythonaudit.context(user="johndoe", request="r-17"):
    sys.audit("shop.order.paid", {"order": 7, "amount": 12.5, "lines": ["a", None, True]})
    sys.audit("User logged in: username=johndoe, ip=192.168.0.1")
open("/etc/passwd").close()
with socket.socket() as s:
    s.connect_ex(("127.0.0.1", 9))
subprocess.run(["true", "--password=s3cret"])
"""


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    found = Sink()
    yield found
    found.close()


@pytest.fixture(scope="module")
def collector(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    found = Collector(tmp_path_factory.mktemp("collector"), sink.endpoint)
    found.start()
    yield found
    found.stop()


def open_to(collector: Collector, scheme: str) -> Target:
    port = collector.http if scheme == "otlp+http" else collector.grpc
    found: Any = open_target(parse_address(f"{scheme}://127.0.0.1:{port}"))
    return found  # type: ignore[no-any-return]


@pytest.fixture(scope="module", params=["otlp+http", "otlp+grpc"])
def target(request: pytest.FixtureRequest, collector: Collector) -> Iterator[Target]:
    found = open_to(collector, request.param)
    yield found
    found.close()


@pytest.fixture(scope="module")
def recorded(installed_here: Installed) -> list[Event]:
    return installed_here.record(PROGRAM).events()


def test_what_is_recorded_arrives_as_it_was(target: Target, sink: Sink, recorded: list[Event]) -> None:
    sink.requests.clear()
    assert target.send(recorded) == Answer()
    assert sink.has({event.id for event in recorded})
    arrived = [record for request in sink.requests for record in otlp.records_of(request)]
    found = {one["id"]: one for one in (otlp.as_jsonl(*record) for record in arrived)}
    assert len(arrived) == len(recorded)
    for event in recorded:
        assert found[event.id] == contract(event)
    (connected,) = (record for _, record in arrived if record.event_name == "socket.connect")
    peer = otlp.plain_pairs(connected.attributes)
    assert (peer["network.peer.address"], peer["network.peer.port"]) == ("127.0.0.1", 9)
    assert b"s3cret" not in b"".join(sink.requests)


def send_all(target: Target, batches: list[list[Event]], done: list[int], kept_up: threading.Event) -> None:
    """Sends batches in order, each until it is taken."""
    for batch in batches:
        while not kept_up.is_set():
            try:
                target.send(batch)
                done.append(len(batch))
                break
            except Unavailable:
                kept_up.wait(0.01)


def test_a_collector_that_goes_and_comes_loses_nothing(target: Target, sink: Sink, collector: Collector) -> None:
    sink.requests.clear()
    batches = [some_events(40, 40 * number) for number in range(120)]
    done: list[int] = []
    kept_up = threading.Event()
    sender = threading.Thread(target=send_all, args=(target, batches, done, kept_up))
    sender.start()
    try:
        for part in (10, 50):
            assert wait_until(lambda part=part: len(done) >= part)  # type: ignore[misc]
            collector.stop(signal.SIGTERM)
            at = len(done)
            collector.start()
        assert wait_until(lambda: len(done) == len(batches))
    finally:
        kept_up.set()
        sender.join()
    assert at < len(batches), "it never stood still"
    assert sink.has({event.id for batch in batches for event in batch})


def test_a_collector_that_is_killed_is_sent_again_what_it_has_not_taken(
    target: Target, sink: Sink, collector: Collector
) -> None:
    sink.requests.clear()
    first, second = some_events(100), some_events(100, 100)
    target.send(first)
    assert sink.has({event.id for event in first})
    collector.stop(signal.SIGKILL)
    with pytest.raises(Unavailable):
        target.send(second)
    collector.start()
    assert target.send(second) == Answer()
    assert sink.has({event.id for event in first + second})
    assert len(sink.ids()) == 200


def test_what_a_collector_has_no_memory_for_is_split(collector: Collector, sink: Sink) -> None:
    """gRPC messages end at 4 MiB there: ours end before."""
    sink.requests.clear()
    target = open_to(collector, "otlp+grpc")
    events = some_events(target.most * 3)
    assert target.send(events) == Answer()
    target.close()
    assert sink.has({event.id for event in events})


def test_the_guide_starts_it_in_the_same_way() -> None:
    guide = (ROOT / "docs" / "guide" / "otlp.md").read_text()
    (command,) = re.findall(r"^(rotel-agent start (?:.*\\\n)*.*)$", guide, re.MULTILINE)
    words = shlex.split(command.replace("\\\n", ""))
    assert words == ["rotel-agent", *arguments("127.0.0.1:4318", "127.0.0.1:4317", "https://logs.example:4318")]
