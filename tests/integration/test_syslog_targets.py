"""Syslog to servers that misbehave: each ends in one of the errors, or what was not read comes again."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from pythonaudit.errors import TargetError, UsageError
from pythonaudit.export.targets import Answer, Misconfigured, Target, Unavailable, open_target, parse_address
from tests.authority import Authority
from tests.odd_servers import Behaviour, OddServer, closed_port, serving, wait_until
from tests.written import some_events

EVENTS = some_events(3)
IDS = [event.id for event in EVENTS]
ID = re.compile(rb'\[pythonaudit@32473 id="([^"]*)"')


def open_syslog(port: int, way: str = "tcp", **options: str) -> Target:
    found: Any = open_target(parse_address(f"syslog+{way}://127.0.0.1:{port}", {"timeout": "10", **options}))
    return found  # type: ignore[no-any-return]


def reading(connection: socket.socket, server: OddServer) -> None:
    """Reads to the end, and ends itself."""
    while data := connection.recv(65536):
        server.received.append(data)
    server.received.append(b"")


def ids(server: OddServer) -> list[str]:
    return [found.decode() for found in ID.findall(b"".join(server.received))]


def reset(connection: socket.socket) -> None:
    """Ends a connection as a kernel does for a process that has died before it had read everything."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def failure(target: Target) -> TargetError:
    with pytest.raises(TargetError) as caught:
        target.send(EVENTS)
    target.close()
    assert "\n" not in str(caught.value) and "syslog+" in str(caught.value)
    return caught.value


@pytest.mark.parametrize("framing", ["octet", "lf"])
def test_close_waits_until_all_is_read(framing: str) -> None:
    with serving(reading) as server:
        target = open_syslog(server.port, framing=framing)
        assert target.send(EVENTS) == Answer()
        target.close()
        assert server.received[-1] == b""
        assert ids(server) == IDS
    content = b"".join(server.received)
    if framing == "lf":
        assert [line.startswith(b"<109>1 ") for line in content.splitlines()] == [True] * 3
        return
    for _ in EVENTS:
        length, _, content = content.partition(b" ")
        assert content.startswith(b"<109>1 ")
        content = content[int(length) :]
    assert not content


def test_options() -> None:
    with serving(reading) as server:
        target = open_syslog(server.port, facility="local3", limit="480")
        target.send(EVENTS)
        target.close()
    assert b"".join(server.received).startswith(b"4")
    assert b"<157>1 " in b"".join(server.received)
    for options, words in (
        ({"facility": "24"}, "0 to 23"),
        ({"facility": "shop"}, "0 to 23"),
        ({"limit": "479"}, "480 to 65507"),
        ({"framing": "crlf"}, "octet or lf"),
        ({"timeout": "-1"}, "seconds"),
        ({"ca": "x"}, "no option ca"),
    ):
        with pytest.raises(UsageError, match=words):
            open_syslog(1, **options)
    with pytest.raises(UsageError, match="no option framing"):
        open_syslog(1, "udp", framing="lf")
    for address in ("syslog+tcp:", "syslog+tcp://127.0.0.1/path"):
        with pytest.raises(UsageError):
            open_target(parse_address(address))


def test_nobody_there() -> None:
    assert isinstance(failure(open_syslog(closed_port())), Unavailable)
    assert isinstance(failure(open_syslog(closed_port(), "udp")), Unavailable)
    for way in ("tcp", "udp"):
        elsewhere: Any = open_target(parse_address(f"syslog+{way}://no-such-host.invalid"))
        assert isinstance(failure(elsewhere), Unavailable)


def test_a_reader_that_does_not_read_is_not_waited_for_long() -> None:
    def behave(connection: socket.socket, server: OddServer) -> None:
        server.is_over.wait()

    with serving(behave) as server:
        target = open_syslog(server.port, timeout="0.3")
        many = some_events(4000)
        with pytest.raises(Unavailable, match="in time"):
            for _ in range(20):  # until no kernel takes more
                target.send(many)
        target.close()


def test_a_connection_that_was_ended_meanwhile_is_made_anew() -> None:
    sent, ended = threading.Event(), threading.Event()

    def behave(connection: socket.socket, server: OddServer) -> None:
        if server.connections > 1:
            reading(connection, server)
            return
        while len(ids(server)) < 3:
            server.received.append(connection.recv(65536))
        sent.wait(60)
        connection.close()
        ended.set()

    with serving(behave) as server:
        target = open_syslog(server.port)
        target.send(EVENTS)
        sent.set()
        assert ended.wait(60)
        more = some_events(3, 3)
        # The end may take a moment to get here: what was sent by then comes again.
        while True:
            with contextlib.suppress(Unavailable):
                target.send(more)
                break
        target.close()
    assert ids(server)[:3] == IDS
    assert ids(server)[-3:] == [event.id for event in more]
    assert ids(server).count(IDS[0]) == 1


@pytest.mark.parametrize("way", ["tcp", "tls"])
def test_what_had_arrived_and_was_not_read_comes_again(way: str, tmp_path: Path) -> None:
    """The kernel had taken it, and then the process that should have read it has died."""
    died = threading.Event()

    def behave(connection: socket.socket, server: OddServer) -> None:
        if server.connections > 1:
            reading(connection, server)
            return
        died.wait(60)
        reset(connection)

    authority = Authority(tmp_path)
    context = authority.server_context(*authority.issue("server")) if way == "tls" else None
    with serving(behave, context) as server:
        target = open_syslog(server.port, way, **({"ca": str(authority.ca)} if context else {}))
        assert target.send(EVENTS) == Answer()
        died.set()
        more = some_events(3, 3)
        while True:
            with contextlib.suppress(Unavailable):
                target.send(more)
                if server.connections > 1:
                    break
        target.close()
    assert set(ids(server)) == {*IDS, *(event.id for event in more)}


def test_cut_in_the_middle_of_a_batch() -> None:
    def behave(connection: socket.socket, server: OddServer) -> None:
        if server.connections > 1:
            reading(connection, server)
            return
        connection.recv(1000)
        reset(connection)

    many = some_events(4000)
    with serving(behave) as server:
        target = open_syslog(server.port)
        with pytest.raises(Unavailable):
            target.send(many)
        assert target.send(many) == Answer()
        target.close()
    assert ids(server) == [event.id for event in many]


def test_certificates(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "ours"), Authority(tmp_path / "stranger")
    cert, key = (str(path) for path in authority.issue("client"))
    context = authority.server_context(*authority.issue("server"), asks_for_certificate=True)
    ca = str(authority.ca)
    with serving(reading, context) as server:
        target = open_syslog(server.port, "tls", ca=ca, cert=cert, key=key)
        assert target.send(EVENTS) == Answer()
        target.close()
        assert wait_until(lambda: ids(server) == IDS)
        for options in ({}, {"ca": str(stranger.ca), "cert": cert, "key": key}):
            error = failure(open_syslog(server.port, "tls", **options))
            assert isinstance(error, Misconfigured) and "not to be trusted" in str(error)
        target = open_syslog(server.port, "tls", ca=ca)
        with pytest.raises(Misconfigured, match="does not accept our certificate"):
            # In TLS 1.3 a server says so after the handshake, and after the first bytes were taken.
            for _ in range(1000):
                with contextlib.suppress(Unavailable):
                    target.send(EVENTS)
        target.close()

    def greeting(connection: socket.socket, server: OddServer) -> None:
        connection.sendall(b"220 mail.example ESMTP\r\n")
        server.is_over.wait()

    behave: Behaviour = greeting
    with serving(behave) as server:
        error = failure(open_syslog(server.port, "tls"))
        assert isinstance(error, Misconfigured) and "no TLS" in str(error)


def test_datagrams() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(60)
        target = open_syslog(receiver.getsockname()[1], "udp")
        assert target.send(EVENTS) == Answer()
        found = [receiver.recv(65536) for _ in EVENTS]
        target.close()
    assert [ID.findall(message)[0].decode() for message in found] == IDS
