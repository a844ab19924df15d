"""A real rsyslog at the other end, set up as the guide shows: all arrives, one message an event, also where it goes and
comes.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pythonaudit.export.targets import Answer, Misconfigured, Target, Unavailable, open_target, parse_address
from tests import journals, rfc5424
from tests.authority import Authority
from tests.journal_writer import SegmentWriter
from tests.odd_servers import wait_until
from tests.property.test_any_export import contract
from tests.syslog_server import Rsyslog
from tests.written import events_of, some_events

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rsyslog]:
    found = Rsyslog(tmp_path_factory.mktemp("rsyslog"), authority)
    found.start()
    yield found
    found.stop()


def open_to(server: Rsyslog, authority: Authority, way: str, **options: str) -> Target:
    if way == "tls":
        cert, key = authority.issue("sender")
        options = {"ca": str(authority.ca), "cert": str(cert), "key": str(key), **options}
    found: Any = open_target(parse_address(f"syslog+{way}://127.0.0.1:{getattr(server, way)}", options))
    return found  # type: ignore[no-any-return]


def hostile() -> list[Event]:
    """Events that would like to be two, or somebody else's."""
    writer = SegmentWriter()
    thread = writer.thread()
    for text in (
        "a\n<13>1 - - - - - - forged",
        "a\r\n<13>Jan  1 00:00:00 host forged",
        'a"] forged [x="',
        "\x00\x1b[2J\x7f\x85\u2028\u202e",
        "a" * 9000,
        "\u20ac" * 9000,
    ):
        thread.event(text, [text], inline=True, stack=[(text[:300], 5, text[:300])])
    return events_of(writer)


@pytest.mark.parametrize("way", ["tcp", "tls", "udp", "lf"])
def test_what_arrives_is_what_was_sent(server: Rsyslog, authority: Authority, way: str) -> None:
    server.forget()
    target = open_to(server, authority, "tcp", framing="lf") if way == "lf" else open_to(server, authority, way)
    events = [*events_of(journals.plain()), *events_of(journals.messages()), *hostile()]
    limit = 2048 if way == "udp" else 8192
    assert target.send(events) == Answer()
    target.close()
    # Ids of the samples' events are the same: they count.
    assert wait_until(lambda: len(server.ids()) == len(events))
    assert sorted(server.ids()) == sorted(event.id for event in events)
    of_raw = {}
    for message in server.messages():
        raw = rfc5424.parse(message["rawmsg"].encode())
        assert len(message["rawmsg"].encode()) <= limit
        of_raw[raw.of("id")[0], "".join(raw.of("event"))] = message
        # As rsyslog reads it, it is what we wrote.
        parts = (message["hostname"], message["app-name"], message["procid"], message["msgid"])
        assert parts == (raw.host, raw.app, raw.process, raw.kind)
        assert message["structured-data"] in message["rawmsg"]
        assert message["syslogfacility"] == "13"
    for event in events:
        said = contract(event)
        if len(said["event"]) < 1000:
            message = of_raw[event.id, said["event"]]
            assert message["timereported"].startswith("2026-11-22T14:30:3")
            if "args" in said:
                assert message["msg"].endswith(
                    json.dumps(said["args"], ensure_ascii=False, separators=(",", ":"))
                ) or (json.loads(message["msg"][message["msg"].rindex(" [") :]) == said["args"])


def send_all(target: Target, batches: list[list[Event]], done: list[int], stop: threading.Event) -> None:
    """Sends batches in order, each until it is taken."""
    for batch in batches:
        while not stop.is_set():
            try:
                target.send(batch)
                done.append(len(batch))
                break
            except Unavailable:
                stop.wait(0.01)


@pytest.mark.parametrize("way", ["tcp", "tls"])
def test_a_server_that_goes_and_comes_loses_nothing(server: Rsyslog, authority: Authority, way: str) -> None:
    server.forget()
    target = open_to(server, authority, way)
    batches = [some_events(40, 40 * number) for number in range(100)]
    done: list[int] = []
    stop = threading.Event()
    sender = threading.Thread(target=send_all, args=(target, batches, done, stop))
    sender.start()
    try:
        for part in (10, 40):
            assert wait_until(lambda part=part: len(done) >= part)  # type: ignore[misc]
            server.stop(signal.SIGTERM)
            at = len(done)
            server.start()
        assert wait_until(lambda: len(done) == len(batches))
    finally:
        stop.set()
        sender.join()
    target.close()
    assert at < len(batches), "it never stood still"
    assert server.has({event.id for batch in batches for event in batch})


def test_a_server_that_is_killed_is_sent_again_what_it_has_not_taken(
    server: Rsyslog, authority: Authority
) -> None:
    server.forget()
    target = open_to(server, authority, "tcp")
    first, second = some_events(100), some_events(100, 100)
    target.send(first)
    assert server.has({event.id for event in first})
    server.stop(signal.SIGKILL)
    with pytest.raises(Unavailable):
        target.send(second)
    server.start()
    assert target.send(second) == Answer()
    target.close()
    assert server.has({event.id for event in first + second})


def test_certificates(server: Rsyslog, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> None:
    events = some_events(1)
    stranger = Authority(tmp_path_factory.mktemp("stranger"), "stranger")
    with pytest.raises(Misconfigured, match="not to be trusted"):
        open_to(server, authority, "tls", ca=str(stranger.ca)).send(events)
    cert, key = stranger.issue("stranger")
    target = open_to(server, authority, "tls", cert=str(cert), key=str(key))
    with pytest.raises((Misconfigured, Unavailable)):  # gnutls may close before it says why
        for _ in range(3):
            target.send(events)
