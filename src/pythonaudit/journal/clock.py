"""Ticks to time, exactly as docs/format/journal.md section 6 has it: whole numbers only.

The rate at an anchor comes from the segment's begin and that anchor, both older than the events that
are timed by it: so the time of an event never changes while its segment grows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pythonaudit.journal.layout import TICKS_HZ_MAX, TICKS_HZ_MIN

Column = npt.NDArray[Any]

SECOND_NS = 1_000_000_000
RATE_MIN_NS = 10_000_000  # anchors closer than this say too little of the rate
RATE_BITS = 33  # so that the products below fit into 63 bits

_TIME_MAX = (1 << 63) - 1
_USUAL_TICKS = 1 << 40
_USUAL_REALTIME = 1 << 62


class Instant(NamedTuple):
    """One reading of three clocks."""

    ticks: int
    monotonic: int
    realtime: int


class Instants(NamedTuple):
    """Many of them, as columns of u64."""

    ticks: Column
    monotonic: Column
    realtime: Column


def rates(instants: Instants, begin: Instant, ticks_hz: int) -> Column:
    """Ticks a second at each anchor, int64."""
    fallback = ticks_hz if TICKS_HZ_MIN <= ticks_hz <= TICKS_HZ_MAX else SECOND_NS
    ticks = (instants.ticks - np.uint64(begin.ticks)).view(np.int64)
    passed = (instants.monotonic - np.uint64(begin.monotonic)).view(np.int64)
    usable = (passed >= RATE_MIN_NS) & (ticks > 0)
    ticks, passed = np.where(usable, ticks, 0), np.where(usable, passed, RATE_MIN_NS)
    while (long := passed >> RATE_BITS > 0).any():
        ticks, passed = ticks >> long, passed >> long
    whole, rest = np.divmod(ticks, passed)
    hz = np.minimum(whole, 9) * SECOND_NS + (rest * SECOND_NS + passed // 2) // passed
    return np.where(usable & (hz >= TICKS_HZ_MIN) & (hz <= TICKS_HZ_MAX), hz, fallback)


def times(ticks: Column, which: Column, instants: Instants, begin: Instant, ticks_hz: int) -> Column:
    """Time of each event.

    Args:
        ticks: of the events, u64.
        which: position in `instants` of each event's anchor.
        instants: the anchors.
        begin: the segment's begin anchor.
        ticks_hz: the header's estimate of the rate.

    Returns:
        Nanoseconds since 1970, int64.
    """
    hz = rates(instants, begin, ticks_hz)[which]
    realtime = instants.realtime[which]
    passed = (ticks - instants.ticks[which]).view(np.int64)
    usual = (passed > -_USUAL_TICKS) & (passed < _USUAL_TICKS) & (realtime < _USUAL_REALTIME)
    whole, rest = np.divmod(np.where(usual, passed, 0), hz)
    found = realtime.view(np.int64) + whole * SECOND_NS + rest * SECOND_NS // hz
    for row in np.flatnonzero(~usual).tolist():
        exact = int(realtime[row]) + int(passed[row]) * SECOND_NS // int(hz[row])
        found[row] = min(max(exact, 0), _TIME_MAX)
    earliest: Column = np.maximum(found, 0)
    return earliest
