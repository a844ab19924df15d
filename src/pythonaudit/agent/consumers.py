"""Who takes new events as they come. Rules and exporters join here: a class with `take`, and a line in `loop`.

A consumer is called in the main thread with the segments that have news, each with nothing but its new events. What it
is given is good until it returns. If it raises, it is told as a problem, and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from pythonaudit.agent.config import Config
from pythonaudit.agent.figures import Figures
from pythonaudit.archive.sealer import Sealer
from pythonaudit.errors import StoreError
from pythonaudit.integrity.writer import Writer
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.follow import Follower


class Consumer(Protocol):
    """Takes events."""

    def take(self, decoders: Sequence[SegmentDecoder]) -> None:
        """There are new events."""

    def rest(self) -> None:
        """There are none; called as often as events are looked for."""


class Sealing:
    """Seals events, and silence.

    Args:
        sealer: of the log.
        config: how often silence is signed.
        figures: what is counted.
        follower: says since when events can have waited, and gives those once more that could not be sealed.
    """

    def __init__(self, sealer: Sealer, config: Config, figures: Figures, follower: Follower) -> None:
        self._sealer = sealer
        self._interval = config.checkpoints.interval
        self._figures = figures
        self._follower = follower
        self._signed_at = time.monotonic()
        self._signed: str | None = None

    def take(self, decoders: Sequence[SegmentDecoder]) -> None:
        """Seals new events.

        Raises:
            OSError, StoreError: they could not be sealed; they come again.
        """
        begin = time.monotonic()
        try:
            count = self._sealer.seal(decoders)
        except (OSError, StoreError):
            self._follower.begin_again(
                {(one.process.id, one.segment.header.sequence, one.process.uid) for one in decoders}
            )
            raise
        if count:
            self._figures.seals += 1
            self._figures.seal_seconds += time.monotonic() - begin
            self._figures.lag = time.monotonic() - self._follower.since
        self.rest()

    def rest(self) -> None:
        """Covers what is not covered yet: what was sealed as it was archived, or could not be covered. Signs
        silence, where nothing was signed for a while.

        Raises:
            OSError, StoreError: the log cannot be written.
        """
        writer = self._sealer.writer
        self._figures.sealed = self._sealer.events  # also what was sealed as it was archived
        if writer.note != self._signed:
            self._signed, self._signed_at = writer.note, time.monotonic()
            self._figures.checkpoint_ns = time.time_ns()
            return
        is_silent = time.monotonic() - self._signed_at >= self._interval
        if is_silent or not writer.is_covered:
            with writer.lock():
                if is_silent and writer.is_covered:
                    writer.append("quiet")
                if not writer.is_covered:
                    writer.checkpoint()


def say_start(writer: Writer, config: Config, version: str) -> None:
    """Records that the agent starts, and settings that weigh on what is kept or told, where they have changed.

    Raises:
        OSError, StoreError: the log cannot be written.
    """
    settings = {"access.record": config.access.record, "keys.epoch": config.keys.epoch}
    with writer.lock() as state:
        writer.append("agent", action="start", version=version)
        for name, value in settings.items():
            if state.settings.get(name) != value:
                writer.append("setting", name=name, value=value)
        writer.checkpoint()


def say_stop(writer: Writer, version: str) -> None:
    """Records that it stops.

    Raises:
        OSError, StoreError: the log cannot be written.
    """
    with writer.lock():
        writer.append("agent", action="stop", version=version)
        writer.checkpoint()
