"""A real server of syslog (rsyslog), set up as docs/guide/syslog.md shows it, and what it has written down."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.authority import Authority
from tests.conftest import ROOT
from tests.odd_servers import DEADLINE_SECONDS, closed_port, wait_until

GUIDE = ROOT / "docs" / "guide" / "syslog.md"


def configuration() -> str:
    """The configuration that the guide shows."""
    (found,) = re.findall(r"^```\n(global\(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    text: str = found
    return text


class Rsyslog:
    """Rsyslog: it listens on UDP, TCP and TLS, and writes each message as a line of JSON.

    Args:
        directory: for what it reads and writes.
        authority: whose certificates it has, and asks for.
    """

    def __init__(self, directory: Path, authority: Authority) -> None:
        program = shutil.which("rsyslogd", path="/usr/sbin:/sbin:/usr/bin")
        gtls = list(Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so"))
        if program is None or not gtls:
            pytest.skip("rsyslogd or its TLS driver is not installed (Debian: rsyslog, rsyslog-gnutls)")
        self._program, self._directory = program, directory
        cert, key = authority.issue("rsyslog")
        self.udp, self.tcp, self.tls = _free_datagram_port(), closed_port(), closed_port()
        self._output = directory / "output"
        text = configuration()
        for there, here in {
            "/var/spool/rsyslog": directory,
            "/etc/rsyslog.d/ca.pem": authority.ca,
            "/etc/rsyslog.d/server.pem": cert,
            "/etc/rsyslog.d/server.key": key,
            "/var/log/pythonaudit.jsonl": self._output,
            'port="514"': f'port="{self.udp}"',
            'port="601"': f'port="{self.tcp}"',
            'port="6514"': f'port="{self.tls}"',
        }.items():
            assert text.count(there) == 1, there
            text = text.replace(there, str(here))
        (directory / "rsyslog.conf").write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; returns when it listens."""
        said = self._directory / "said"
        files = ["-f", str(self._directory / "rsyslog.conf"), "-i", str(self._directory / "pid")]
        with said.open("wb") as output:
            self._process = subprocess.Popen([self._program, "-n", *files], stdout=output, stderr=output)
        up = wait_until(lambda: self._ended() or all(map(_listens, (self.tcp, self.tls))))
        assert up and not self._ended(), said.read_text()

    def stop(self, how: int = signal.SIGTERM) -> None:
        """Ends it: asked to, it writes what it has."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(DEADLINE_SECONDS)
        self._process = None

    def messages(self) -> list[dict[str, Any]]:
        """What it has written."""
        lines = self._output.read_bytes().splitlines(keepends=True) if self._output.exists() else []
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def ids(self) -> list[str]:
        """The ids of the events in them; some can be there twice."""
        return re.findall(
            r'"structured-data": "\[pythonaudit@32473 id=\\"([^"\\]*)\\"', self._text().replace("\\/", "/")
        )

    def has(self, ids: set[str]) -> bool:
        """Whether all of these are written, in time."""
        return wait_until(lambda: ids <= set(self.ids()))

    def forget(self) -> None:
        """Begins anew: what is written from now on counts."""
        if self._output.exists():
            self._output.write_bytes(b"")  # it is opened for appending

    def _text(self) -> str:
        return self._output.read_text("utf-8") if self._output.exists() else ""

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None


def _free_datagram_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
