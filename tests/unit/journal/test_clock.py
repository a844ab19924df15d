"""Ticks to time: the columns agree with the formula of the format, in Python's unbounded integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pythonaudit.journal.clock import Instant, Instants, times

U64 = (1 << 64) - 1

words = st.one_of(
    st.integers(0, U64),
    st.integers(0, 1 << 34),
    st.sampled_from([0, 1, 10**7 - 1, 10**7, 1 << 33, (1 << 33) - 1, 1 << 63, (1 << 63) - 1, U64]),
)
instants = st.builds(Instant, words, words, words)


def signed(number: int) -> int:
    number &= U64
    return number - (1 << 64) if number >> 63 else number


def expected(ticks: int, anchor: Instant, begin: Instant, ticks_hz: int) -> int:
    passed_ticks = signed(anchor.ticks - begin.ticks)
    passed_ns = signed(anchor.monotonic - begin.monotonic)
    hz = 0
    if passed_ns >= 10_000_000 and passed_ticks > 0:
        while passed_ns >= 1 << 33:
            passed_ticks, passed_ns = passed_ticks // 2, passed_ns // 2
        hz = (passed_ticks * 10**9 + passed_ns // 2) // passed_ns
    candidates = [rate for rate in (hz, ticks_hz, 10**9) if 10**6 <= rate <= 1 << 33]
    exact = anchor.realtime + signed(ticks - anchor.ticks) * 10**9 // candidates[0]
    return min(max(exact, 0), (1 << 63) - 1)


def columns(anchors: list[Instant]) -> Instants:
    return Instants(*(np.array(column, np.uint64) for column in zip(*anchors, strict=True)))


@given(st.lists(st.tuples(words, instants), min_size=1, max_size=5), instants, words)
@example([(1 << 40, Instant(0, 0, 1 << 61))], Instant(0, 0, 0), 10**6)
@example([(3, Instant(1 << 62, (1 << 54) - 1, 5))], Instant(0, 0, 0), 10**9)
def test_formula(rows: list[tuple[int, Instant]], begin: Instant, ticks_hz: int) -> None:
    ticks = np.array([ticks for ticks, _ in rows], np.uint64)
    anchors = [anchor for _, anchor in rows]
    found = times(ticks, np.arange(len(rows)), columns(anchors), begin, ticks_hz).tolist()
    assert found == [expected(*row, begin, ticks_hz) for row in rows]


@pytest.mark.parametrize("ghz", [0.024, 1.0, 2.4, 3.7, 5.2])
def test_error_is_below_a_microsecond(ghz: float) -> None:
    """A clock of any usual rate, whose estimate is off by a hundredth, from 10 ms on."""
    begin = Instant(10**12, 10**9, 1_795_357_833_000_000_000)
    passed_ns = 20_000_000
    anchor = Instant(begin.ticks + round(passed_ns * ghz), begin.monotonic + passed_ns, begin.realtime + passed_ns)
    later_ns = 3_000_000
    ticks = np.array([anchor.ticks + round(later_ns * ghz)], np.uint64)
    found = times(ticks, np.array([0]), columns([anchor]), begin, round(ghz * 1.01e9))
    assert abs(int(found[0]) - (anchor.realtime + later_ns)) < 1000
