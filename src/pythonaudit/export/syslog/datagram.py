"""Syslog by UDP: a datagram a message.

Nothing says that one has arrived. What a kernel on the way refuses is noticed if it tells in time; all else that gets
lost is lost unseen, at the other side's full buffer above all. It is for servers that take nothing else.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence

from pythonaudit.export.connect import explain
from pythonaudit.export.syslog.message import Encoder
from pythonaudit.export.targets import Answer, Misconfigured
from pythonaudit.journal.decode import Event


class DatagramTarget:
    """Hands events to a syslog server.

    Args:
        place: the address, for people.
        host, port: of it.
        encoder: makes messages.
        seconds: that one of them may wait for room.
    """

    most = 256

    def __init__(self, place: str, host: str, port: int, encoder: Encoder, seconds: float) -> None:
        self._place, self._host, self._port = place, host, port
        self._encoder, self._seconds = encoder, seconds
        self._socket: socket.socket | None = None

    def send(self, events: Sequence[Event]) -> Answer:
        """Hands events over.

        Raises:
            Unavailable: the name does not resolve, there is no way there, or nobody listens.
            Misconfigured: messages are longer than datagrams can be on the way.
        """
        try:
            if self._socket is None:
                self._socket = self._open()
            for message in self._encoder.messages(events):
                self._socket.send(message)
            refused = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if refused:
                raise OSError(refused, os.strerror(refused))
        except (OSError, ValueError) as error:  # of a name that can be none
            self.close()
            if isinstance(error, OSError) and error.errno == errno.EMSGSIZE:
                hint = "set limit=1400, or use syslog+tcp"
                raise Misconfigured(f"{self._place}: messages are too long for datagrams", hint=hint) from None
            raise explain(self._place, error) from None
        return Answer()

    def close(self) -> None:
        """Closes the socket."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _open(self) -> socket.socket:
        family, kind, protocol, _, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[0]
        found = socket.socket(family, kind, protocol)
        try:
            found.settimeout(self._seconds)
            found.connect(address)
        except OSError:
            found.close()
            raise
        return found
