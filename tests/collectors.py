"""A real collector of OpenTelemetry (rotel), and a receiver of the test's own behind it that counts what arrives."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sysconfig
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import otlp
from tests.odd_servers import DEADLINE_SECONDS, closed_port, wait_until


class Sink:
    """Takes OTLP by HTTP, and keeps it.

    Attributes:
        requests: what came, uncompressed.
    """

    def __init__(self) -> None:
        sink = self
        self.requests: list[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = zlib.decompress(body, 31)
                sink.requests.append(body)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def ids(self) -> list[str]:
        """The ids of the events that have arrived; some can be there twice."""
        return [id_ for request in list(self.requests) for id_ in otlp.ids_of(request)]

    def has(self, ids: set[str]) -> bool:
        """Whether all of these arrive, in time."""
        return wait_until(lambda: ids <= set(self.ids()))

    def close(self) -> None:
        """Ends."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def arguments(http: str, grpc: str, endpoint: str | None) -> list[str]:
    """Arguments of rotel-agent: docs/guide/otlp.md shows the same.

    Args:
        http, grpc: where it listens.
        endpoint: where it hands on; None: nowhere.
    """
    onwards = ["--exporter", "blackhole"]
    if endpoint:
        onwards = ["--exporter", "otlp", "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", endpoint]
    return ["start", "--otlp-http-endpoint", http, "--otlp-grpc-endpoint", grpc, *onwards]


class Collector:
    """Rotel: it takes OTLP by HTTP and gRPC, and hands it on.

    Args:
        directory: for what it writes.
        endpoint: where it hands on; None: nowhere.
    """

    def __init__(self, directory: Path, endpoint: str | None) -> None:
        spec = importlib.util.find_spec("rotel")
        if spec is None or spec.origin is None:
            pytest.skip("rotel is not installed: it has no wheel for this Python")
        self._program = Path(spec.origin).with_name("rotel-agent")
        self._directory = directory
        self.http, self.grpc = closed_port(), closed_port()
        self._arguments = [
            *arguments(f"127.0.0.1:{self.http}", f"127.0.0.1:{self.grpc}", endpoint),
            *(
                "--pid-file",
                str(directory / "pid"),
                "--log-file",
                str(directory / "log"),
                "--batch-timeout",
                "20ms",
            ),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; returns when it listens."""
        said = self._directory / "said"
        environment = {**os.environ, "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))}
        with said.open("wb") as output:
            self._process = subprocess.Popen(
                [self._program, *self._arguments], env=environment, stdout=output, stderr=output
            )
        up = wait_until(lambda: self._ended() or all(map(_listens, (self.http, self.grpc))))
        if "shared libraries" in said.read_text():
            pytest.skip(f"rotel does not start here: {said.read_text().strip()}")
        assert up and not self._ended(), said.read_text()

    def stop(self, how: int = signal.SIGTERM) -> None:
        """Ends it: asked to, it hands on what it has."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(DEADLINE_SECONDS)
        self._process = None

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
