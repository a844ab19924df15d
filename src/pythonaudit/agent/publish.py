"""Checkpoints to other places: a file on another disk, a server. In a thread of its own, so that nothing waits for it.

    publisher = Publisher(config.checkpoints, figures, problems)
    publisher.offer(note)        # the newest is what counts: one that could not be sent is not sent later

Who keeps a checkpoint can tell later whether what it covers was changed or cut off (docs/format/checkpoint.md).
"""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request

from pythonaudit.agent.config import Checkpoints
from pythonaudit.agent.figures import Figures
from pythonaudit.agent.problems import Problems
from pythonaudit.durable import write_durably

TIMEOUT_SECONDS = 10.0
_RETRY_SECONDS = 5.0


class Publisher:
    """Writes and posts the newest checkpoint.

    Args:
        places: where to.
        figures, problems: what came of it.
    """

    def __init__(self, places: Checkpoints, figures: Figures, problems: Problems) -> None:
        self._places = places
        self._figures = figures
        self._problems = problems
        self._changed = threading.Condition()
        self._note: str | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._opener = urllib.request.build_opener(_NoRedirect)
        if places.file or places.url:
            self._thread.start()

    def offer(self, note: str | None) -> None:
        """There is a checkpoint, maybe the same as before."""
        if note is None or note == self._note or not self._thread.is_alive():
            return
        with self._changed:
            self._note = note
            self._changed.notify()

    def end(self, seconds: float) -> None:
        """Waits until the last one is out, but no longer than so long."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        done: str | None = None
        while True:
            with self._changed:
                if not self._ending and self._note == done:
                    self._changed.wait()
                if self._note == done and self._ending:
                    return
                note = self._note
            if note is None:
                continue
            begin = time.monotonic()
            failed = not self._send(note)
            done = note
            with self._changed:
                if failed and not self._ending:  # a place that is out of order is not asked all the time
                    self._changed.wait_for(
                        lambda: self._ending, max(_RETRY_SECONDS - (time.monotonic() - begin), 0)
                    )

    def _send(self, note: str) -> bool:
        sent = True
        if self._places.file:
            try:
                write_durably(self._places.file, note.encode())
            except OSError as error:
                sent = self._fail(f"{self._places.file}: {error.strerror}")
        if self._places.url:
            headers = {"Content-Type": "text/plain; charset=utf-8"}
            request = urllib.request.Request(self._places.url, note.encode(), headers, method="POST")
            try:
                with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                    answer.read(1)
            except urllib.error.HTTPError as error:
                sent = self._fail(f"{self._places.url}: answered {error.code}")
                error.close()
            except Exception as error:  # whatever the other side sends
                reason = getattr(error, "reason", error)
                sent = self._fail(f"{self._places.url}: {reason}")
        if sent:
            self._figures.posted += 1
        return sent

    def _fail(self, text: str) -> bool:
        self._figures.post_failures += 1
        self._problems.note("checkpoint", f"a checkpoint did not get to {text}")
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is posted goes where the configuration says, and nowhere else."""

    def redirect_request(self, *_unused: object) -> None:
        """Answers are taken as they are."""
