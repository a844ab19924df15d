"""A journal in the form in which tests compare it with what a program did.

`threads` is the order that the recorder promises: each thread's events, numbered from 0 without a
gap. Everything else here is a question that several tests ask.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tests.conftest import Recording

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event

#: How many times as much the tests do that grow with it; `make soak` sets it.
SOAK = int(os.environ.get("SOAK", "1"))
#: Where random numbers begin: the same runs every time, unless somebody asks for others.
SEED = os.environ.get("SEED", "pythonaudit")


def threads(events: Iterable[Event]) -> dict[str, list[Event]]:
    """The events of each thread (`process/slot`), in its order; fails where a number is missing or twice there."""
    numbered: dict[str, dict[int, Event]] = {}
    for event in events:
        thread = f"{event.process.id}/{event.thread.slot}"
        earlier = numbered.setdefault(thread, {}).setdefault(event.number, event)
        assert earlier is event, f"{event.id} is there twice"
    for thread, found in numbered.items():
        assert sorted(found) == list(range(len(found))), f"numbers of {thread} have gaps"
    return {thread: [found[i] for i in range(len(found))] for thread, found in numbered.items()}


def lost(recording: Recording) -> dict[str, int]:
    """Losses by reason, over all processes."""
    total: dict[str, int] = {}
    for loss in recording.journal.losses():
        total[loss.reason] = total.get(loss.reason, 0) + loss.count
    return total


def total(recording: Recording) -> int:
    """Events recorded and events lost, over all processes: as many as were raised."""
    losses = lost(recording)
    for reason in ("unrecorded-child", "missing-segments"):  # no events
        losses.pop(reason, None)
    return sum(trail.events for trail in recording.journal.processes()) + sum(losses.values())


def is_whole(recording: Recording) -> bool:
    """Nothing was lost, and nothing that was written is damaged."""
    return not lost(recording) and not list(recording.journal.damage())
