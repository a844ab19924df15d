"""Tells people of alerts: by mail, chat, webhook, …, whatever apprise knows. In a thread of its own. Home of apprise.

    messenger = Messenger(config.detect.notify, "medium", problems)
    messenger.tell(told)             # one message an alert, not one a match
    messenger.end(seconds)

A message that cannot be sent is tried again a few times, then told as a problem: the alert itself is in the trail.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from typing import Any

from pythonaudit.agent.problems import Problems
from pythonaudit.detect.rules import LEVELS
from pythonaudit.detect.trail import Told
from pythonaudit.errors import ConfigError
from pythonaudit.export.formats.safe import neutralise

_WAITING = 1000
_PAUSES = (5.0, 30.0, 120.0)


class Messenger:
    """Sends messages.

    Args:
        addresses: of apprise; they hold secrets, and are never shown.
        level: of alerts that people are told of, and above.
        problems: what went wrong.

    Attributes:
        sent, failed: messages.

    Raises:
        ConfigError: an address makes no sense.
    """

    def __init__(self, addresses: Sequence[str], level: str, problems: Problems) -> None:
        self._problems = problems
        self._least = LEVELS.index(level)
        self._queue: queue.Queue[Told] = queue.Queue(_WAITING)
        self._ending = threading.Event()
        self.sent = self.failed = 0
        self._services = _load(addresses)
        self._thread = threading.Thread(target=self._run, name="messages", daemon=True)
        if self._services:
            self._thread.start()

    def tell(self, told: Told) -> None:
        """There is an alert."""
        if not self._services or LEVELS.index(told.level) < self._least:
            return
        try:
            self._queue.put_nowait(told)
        except queue.Full:
            self._fail(told, f"{_WAITING:,} messages wait already")

    def end(self, seconds: float) -> None:
        """Waits until all are sent, but no longer than so long."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        while not (self._ending.is_set() and self._queue.empty()):
            try:
                told = self._queue.get(timeout=0.5)
            except queue.Empty:
                continue
            self._send(told)

    def _send(self, told: Told) -> None:
        title, body = _write(told)
        waiting = list(self._services)
        for pause in (*_PAUSES, None):
            waiting = [one for one in waiting if not _is_sent(one, title, body)]
            if not waiting:
                self.sent += 1
                return
            if pause is None or self._ending.wait(pause):
                break
        self._fail(told, f"{len(waiting)} of {len(self._services)} services did not take it")

    def _fail(self, told: Told, reason: str) -> None:
        self.failed += 1
        self._problems.note("messages", f"nobody was told of alert {told.id}: {reason}")


def check_addresses(addresses: Sequence[str]) -> None:
    """Raises ConfigError where one makes no sense."""
    _load(addresses)


def _load(addresses: Sequence[str]) -> list[Any]:
    if not addresses:
        return []
    import apprise

    logger = logging.getLogger("apprise")  # what it says has addresses in it
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    services = []
    for number, address in enumerate(addresses):
        service = apprise.Apprise.instantiate(address)
        if service is None:
            hint = "they are those of apprise: mailtos://…, slack://…, json://…"
            raise ConfigError(f"detect.notify[{number}]: an address that makes no sense", hint=hint)
        services.append(service)
    return services


def _is_sent(service: Any, title: str, body: str) -> bool:
    try:
        return bool(service.notify(title=title, body=body))
    except Exception:  # whatever a service of somebody else's does
        return False


def _write(told: Told) -> tuple[str, str]:
    """Title and text."""
    package = " ".join(filter(None, (told.package.get("name"), told.package.get("version"))))
    lines = [
        ("alert", told.id),
        ("rule", told.title),
        ("techniques", ", ".join(told.techniques)),
        ("host", told.host),
        ("package", package),
        ("matches", f"{told.count:,}"),
        ("first", told.first),
    ]
    text = "\n".join(f"{name}: {neutralise(value)}" for name, value in lines if value)
    where = f" on {told.host}" if told.host else ""
    return neutralise(f"[{told.level}] {told.title}{where}"), f"{text}\n\npythonaudit alerts show {told.id}"
