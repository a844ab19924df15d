"""Ships: asks the feed what comes next, hands it to the target, and notes what was acknowledged.

    shipping = Shipping(feed, target, cursor, tell)
    shipping.ship_backlog()                        # once
    while shipping.ship_news(): ...                # and on

A target that is not there is tried again, at longer and longer intervals or when it says so itself, and what it refuses
is sent in smaller numbers until the event at fault is alone. Of trouble a line is told once a minute at most; all of it
is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from pythonaudit.errors import StoreError, TargetError
from pythonaudit.export.cursor import Cursor
from pythonaudit.export.feed import Batch, Feed
from pythonaudit.export.targets import Misconfigured, Refused, Target, Unavailable
from pythonaudit.journal.decode import Event

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_WISH_SECONDS = 300.0  # whatever the other side asks for
TELL_SECONDS = 60.0
_MANY = 20  # events: what refuses as many at once, and nothing but refuses, is not what it should be


class Stopped(Exception):
    """Shipping was told to end; what was acknowledged is noted."""


class Shipping:
    """Ships to one target.

    Args:
        feed: what comes next.
        target: where to.
        cursor: notes what was acknowledged.
        tell: takes a line for people.
        wait: waits for so many seconds, or until shipping is to end: whether it is.
        patience: seconds after which a target that is not there ends it; None: never.

    Attributes:
        trouble: what is wrong with the target now; empty: nothing.
        retries: how often something was sent again.
        behind_since_ns: time of the first event that waits to be acknowledged, nanoseconds since 1970; 0: none does.
    """

    def __init__(
        self,
        feed: Feed,
        target: Target,
        cursor: Cursor,
        tell: Callable[[str], None],
        wait: Callable[[float], bool],
        patience: float | None = None,
    ) -> None:
        self._feed = feed
        self._target = target
        self._cursor = cursor
        self._tell = tell
        self._wait = wait
        self._patience = patience
        self._told: dict[str, float] = {}
        self._is_sound = False  # it has taken something
        self.trouble = ""
        self.retries = 0
        self.behind_since_ns = 0

    def ship_backlog(self) -> None:
        """Ships all that is there by now.

        Raises:
            StoreError: it cannot be read.
            TargetError: the target cannot be had: for as long as patience lasts, or as it is set up.
            Stopped: it was told to end.
        """
        self._ship(self._feed.backlog(self._target.most))

    def ship_news(self) -> bool:
        """Ships what has come since; whether there is more.

        Raises:
            StoreError, TargetError, Stopped: as `ship_backlog`.
        """
        self._ship(self._feed.news(self._target.most))
        return self._feed.is_behind

    def _ship(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            self.behind_since_ns = batch.events[0].time_ns if batch.events else 0
            self._deliver(batch.events)
            self._cursor.acknowledge((), batch.finished)
            self._save()
            if self._wait(0):
                raise Stopped
        self.behind_since_ns = 0

    def _deliver(self, events: Sequence[Event]) -> None:
        """Sends events until they are acknowledged, or counted as refused.

        Raises:
            TargetError, Stopped: neither.
        """
        waiting = [events] if events else []
        refused: list[tuple[Event, Refused]] = []
        while waiting:
            part = waiting.pop()
            try:
                self._send(part)
            except Refused as error:
                if len(part) > 1:
                    half = len(part) // 2
                    waiting += [part[half:], part[:half]]
                else:
                    refused.append((part[0], error))
                continue
            self._is_sound = True
            self._cursor.acknowledge(part)
        if refused and len(refused) == len(events) and (not self._is_sound or len(events) >= _MANY):
            self.trouble = f"{refused[-1][1]}; it refuses everything"
            raise Misconfigured(self.trouble, hint=refused[-1][1].hint)
        for event, reason in refused:
            self._count("refused", 1)
            self._complain("refused", f"an event was refused, and is left out: {event.id}: {reason}")
            self._cursor.acknowledge([event])

    def _send(self, events: Sequence[Event]) -> None:
        begin, pause = time.monotonic(), FIRST_PAUSE_SECONDS
        while True:
            try:
                answer = self._target.send(events)
                break
            except Unavailable as error:
                self.trouble = str(error)
                self.retries += 1
                wish = min(error.after, LONGEST_WISH_SECONDS) if error.after is not None else pause
                if self._patience is not None and time.monotonic() + wish - begin > self._patience:
                    raise
                self._complain("unavailable", f"{error}; it is tried again, nothing is lost")
                if self._wait(wish):
                    raise Stopped from None
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            except TargetError as error:
                self.trouble = str(error)
                raise
        if self.trouble:
            self.trouble = ""
            self._told.pop("unavailable", None)
        if answer.refused:
            self._count("refused", answer.refused)
            reason = f": {answer.reason}" if answer.reason else ""
            self._complain("partly", f"{answer.refused:,} of {len(events):,} events were refused{reason}")
        self._count("sent", len(events) - answer.refused)

    def _count(self, name: str, count: int) -> None:
        self._cursor.counts[name] += count

    def _save(self) -> None:
        """Notes what was acknowledged; while that cannot be done, it goes on all the same."""
        try:
            self._cursor.save()
        except StoreError as error:
            self._complain("cursor", f"{error}; what is sent meanwhile may be sent once more")

    def _complain(self, kind: str, text: str) -> None:
        """Tells people, of each kind once a minute."""
        now = time.monotonic()
        if now - self._told.get(kind, -TELL_SECONDS) >= TELL_SECONDS:
            self._told[kind] = now
            self._tell(text)
