"""Syslog by TCP, with TLS or without: one message after the other, on a connection that is kept.

Syslog acknowledges nothing. What can be known without that is used:

- the other side's kernel says which bytes have arrived: `send` returns when it has said so of all of them;
- a connection that the other side has ended is noticed before something is sent, and after: what was sent at that time
  comes again;
- where it was ended by a reset, or broke, what had arrived may never have been read: the last few MiB before are sent
  again as well, on the next connection. An end without reset says that all was read;
- `close` ends the connection in one direction and waits for the other side to do the same, which it does when it has
  read everything.

What the other side has read and lost afterwards, nobody here can know.
"""

from __future__ import annotations

import fcntl
import select
import socket
import ssl
import struct
import termios
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from pythonaudit.export.connect import ENDED, check_tls, connect, explain
from pythonaudit.export.syslog.message import Encoder
from pythonaudit.export.targets import Answer, Unavailable
from pythonaudit.journal.decode import Event

_ENDED = select.POLLRDHUP | select.POLLHUP
_BROKEN = select.POLLERR | select.POLLNVAL
_UNREAD_BYTES = 8 << 20  # as much as a kernel holds of what was not read
_LOOK_MS = 2


def octet_counted(message: bytes) -> bytes:
    """A message with its length before it (RFC 6587, RFC 5425)."""
    return b"%d %s" % (len(message), message)


def line(message: bytes) -> bytes:
    """A message with a line end after it, for those who count no octets."""
    return message + b"\n"


class StreamTarget:
    """Hands events to a syslog server.

    Args:
        place: the address, for people.
        host, port: of it.
        context: of TLS; None: cleartext.
        encoder: makes messages.
        frame: makes the part of a stream of each.
        seconds: that a hand-over may take.
    """

    most = 4096

    def __init__(
        self,
        place: str,
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        encoder: Encoder,
        frame: Callable[[bytes], bytes],
        seconds: float,
    ) -> None:
        self._place, self._host, self._port, self._context = place, host, port, context
        self._encoder, self._frame, self._seconds = encoder, frame, seconds
        self._socket: socket.socket | None = None
        self._arrived: deque[bytes] = deque()
        self._arrived_bytes = 0
        self._is_doubtful = False

    def send(self, events: Sequence[Event]) -> Answer:
        """Hands events over.

        Raises:
            Unavailable, Misconfigured: as in `connect`.
        """
        content = b"".join(map(self._frame, self._encoder.messages(events)))
        until = time.monotonic() + self._seconds
        try:
            self._hand_over(self._ready(), content, until)
        except OSError as error:
            self._drop(is_doubtful=True)
            self._check(error)
            raise explain(self._place, error) from None
        except Unavailable:
            self._drop(is_doubtful=self._is_doubtful)
            raise
        self._arrived.append(content)
        self._arrived_bytes += len(content)
        while self._arrived_bytes > _UNREAD_BYTES and len(self._arrived) > 1:
            self._arrived_bytes -= len(self._arrived.popleft())
        return Answer()

    def close(self) -> None:
        """Ends the connection when the other side has read everything, or does not say so in time."""
        found = self._socket
        if found is not None:
            with suppress(OSError, ValueError):
                found.settimeout(self._seconds)
                if isinstance(found, ssl.SSLSocket):
                    found = self._socket = found.unwrap()
                found.shutdown(socket.SHUT_WR)
                until = time.monotonic() + self._seconds
                while time.monotonic() < until and found.recv(4096):
                    pass
        self._drop(is_doubtful=False)

    def _ready(self) -> socket.socket:
        """A connection that the other side has not ended, as far as is known here."""
        if self._socket is not None and (ended := _ended(self._socket)):
            self._drop(is_doubtful=bool(ended & _BROKEN))
        if self._socket is None:
            self._socket = connect(self._place, self._host, self._port, self._seconds, self._context)
            self._socket.settimeout(self._seconds)
        return self._socket

    def _hand_over(self, found: socket.socket, content: bytes, until: float) -> None:
        if self._is_doubtful:
            for earlier in self._arrived:
                found.sendall(earlier)
            self._is_doubtful = False
        found.sendall(content)
        while _unacknowledged(found):
            if time.monotonic() > until:
                raise TimeoutError
            if _ended(found, _LOOK_MS):
                break
        if ended := _ended(found):
            self._is_doubtful = bool(ended & _BROKEN)
            raise Unavailable(f"{self._place}: it has ended the connection")

    def _check(self, error: OSError) -> None:
        if self._context is not None and isinstance(error, ENDED):
            check_tls(self._place, self._host, self._port, self._context)

    def _drop(self, is_doubtful: bool) -> None:
        """Has no connection any more.

        Args:
            is_doubtful: what has arrived may not have been read.
        """
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._is_doubtful = is_doubtful
        if not is_doubtful:
            self._arrived.clear()
            self._arrived_bytes = 0


def _ended(found: socket.socket, wait_ms: int = 0) -> int:
    """How the other side has ended a connection, as bits of poll(2); 0: it has not."""
    poll = select.poll()
    poll.register(found.fileno(), select.POLLRDHUP)
    bits = sum(bits for _, bits in poll.poll(wait_ms))
    return bits & (_ENDED | _BROKEN)


def _unacknowledged(found: socket.socket) -> int:
    """How many bytes the other side's kernel has not said to have."""
    answer = fcntl.ioctl(found.fileno(), termios.TIOCOUTQ, bytes(4))
    number: int = struct.unpack("i", answer)[0]
    return number
