"""Telling systemd how we are (sd_notify(3)): one datagram to the socket that NOTIFY_SOCKET names.

notify = Notifier(os.environ)
notify.ready("following 3 processes")
notify.alive()                          # as often as the watchdog wants it
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

_SHARE = 3  # of the watchdog's time
_MICRO = 1e-6


class Notifier:
    """Tells, where somebody listens.

    Args:
        environ: with NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, if systemd started us.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        self._watchdog: float | None = None
        self._told = 0.0
        self._status = ""
        if not address.startswith(("/", "@")):
            return
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )
        every = environ.get("WATCHDOG_USEC", "")
        if every.isdecimal() and environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            self._watchdog = int(every) * _MICRO / _SHARE

    def ready(self, status: str) -> None:
        """We have begun."""
        self._send(f"READY=1\nSTATUS={status}")

    def alive(self) -> None:
        """We go on; told as often as the watchdog wants it."""
        now = time.monotonic()
        if self._watchdog is not None and now - self._told >= self._watchdog:
            self._told = now
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """A line for `systemctl status`."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def stopping(self) -> None:
        """We end."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Nothing is told any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is not None:
            with suppress(OSError):  # whoever listened does so no more
                self._socket.sendto(text.encode(errors="replace"), self._address)
