"""OTLP by HTTP/1.1: one request after the other, on a connection that is kept.

A server may close a connection that has nothing to do. So a request on a kept one that fails before it is answered is
tried once more, on a new one: what is sent can come twice anyway. A request has one time limit, from its first byte to
the last one of the answer, however slowly these come.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pythonaudit import __version__
from pythonaudit.export.connect import ENDED, check_tls, connect, explain
from pythonaudit.export.otlp import answers
from pythonaudit.export.otlp.records import Encoder
from pythonaudit.export.targets import Answer, Unavailable
from pythonaudit.journal.decode import Event

_GZIP = 31  # zlib's wbits for it
_FAST = 1  # level: events repeat so much that others gain little and cost much


class _UntilThen(io.RawIOBase):
    """Reads a socket until a time.

    Args:
        source: of bytes. `file`: made of it; while it is open, so is the socket.
        until: `time.monotonic`.
    """

    def __init__(self, source: socket.socket, file: io.BufferedIOBase, until: float) -> None:
        self._source, self._file, self._until = source, file, until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._source.settimeout(left)
        return self._source.recv_into(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Connection(http.client.HTTPConnection):
    """A connection of HTTP over a socket that is connected.

    Args:
        host, port: of the other side.
        connected: the socket.
    """

    def __init__(self, host: str, port: int, connected: socket.socket) -> None:
        super().__init__(host, port)
        self.sock = connected
        self.until = 0.0
        self.response_class = self._respond  # type: ignore[assignment]

    def connect(self) -> None:
        """Not again: who has it makes another one."""
        raise ConnectionResetError

    def _respond(self, source: socket.socket, *args: Any, **options: Any) -> http.client.HTTPResponse:
        response = http.client.HTTPResponse(source, *args, **options)
        response.fp = io.BufferedReader(_UntilThen(source, response.fp, self.until))
        return response


class HttpTarget:
    """Hands events to a collector.

    Args:
        place: the address, for people.
        host, port, path: of it.
        context: of TLS; None: cleartext.
        headers: further ones.
        seconds: that a request may take.
        compresses: whether requests are.
        encoder: makes them.
    """

    most = 4096

    def __init__(
        self,
        place: str,
        host: str,
        port: int,
        path: str,
        *,
        context: ssl.SSLContext | None,
        headers: Mapping[str, str],
        seconds: float,
        compresses: bool,
        encoder: Encoder,
    ) -> None:
        self._place, self._host, self._port, self._path = place, host, port, path
        self._context, self._seconds, self._encoder = context, seconds, encoder
        self._compresses = compresses
        self._headers = {
            **headers,
            "Content-Type": "application/x-protobuf",
            "User-Agent": f"pythonaudit/{__version__}",
            **({"Content-Encoding": "gzip"} if compresses else {}),
        }
        self._connection: _Connection | None = None

    def send(self, events: Sequence[Event]) -> Answer:
        """Hands events over.

        Raises:
            Unavailable, Refused, Misconfigured: as in `answers`, and of the connection.
        """
        return answers.add([self._post(body, count) for body, count in self._encoder.requests(events)])

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _post(self, body: bytes, count: int) -> Answer:
        if self._compresses:
            packer = zlib.compressobj(_FAST, zlib.DEFLATED, _GZIP)
            body = packer.compress(body) + packer.flush()
        is_kept = self._connection is not None
        try:
            try:
                return self._ask(body, count)
            except ENDED:
                if not is_kept:
                    raise
                self.close()
                return self._ask(body, count)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if isinstance(error, OSError):
                if self._context is not None and isinstance(error, ENDED):
                    check_tls(self._place, self._host, self._port, self._context)
                raise explain(self._place, error) from None
            raise Unavailable(f"{self._place}: what it answers is no HTTP", hint="is that a collector?") from None
        except Exception:
            self.close()
            raise

    def _ask(self, body: bytes, count: int) -> Answer:
        until = time.monotonic() + self._seconds
        if self._connection is None:
            found = connect(self._place, self._host, self._port, self._seconds, self._context)
            self._connection = _Connection(self._host, self._port, found)
        connection = self._connection
        connection.sock.settimeout(self._seconds)
        connection.until = until
        with suppress(*ENDED):  # it may have said why before it had read everything
            connection.request("POST", self._path, body, self._headers)
        with connection.getresponse() as response:
            content = response.read(answers.ANSWER_MAX + 1)
            headers, status, left = response.getheaders(), response.status, response.length
            ends = response.will_close
        if len(content) > answers.ANSWER_MAX:
            raise Unavailable(f"{self._place}: its answer has no end", hint="is that a collector?")
        if left:
            raise Unavailable(f"{self._place}: its answer was cut off")
        if ends:
            self.close()
        if status != http.client.OK and not (200 < status < 300 and not content):
            raise answers.http_error(self._place, status, headers, content)
        return answers.parse_answer(self._place, content, count)
