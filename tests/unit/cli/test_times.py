"""Moments: every form that is read, every form that is refused, and the way back."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pythonaudit.cli.times import DAY_NS, SECOND_NS, format_clock, format_date, format_moment, parse_moment

NOW = 1_795_357_833_123_456_789  # 2026-11-22T14:30:33.123456789Z
MIDNIGHT = 1_795_305_600_000_000_000

moments = st.integers(min_value=0, max_value=2**64 - 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T14:30:33.123456789Z", NOW),
        ("2026-11-22t14:30:33.123456789z", NOW),
        ("2026-11-22 14:30:33.123456789", NOW),
        ("2026-11-22T16:00:33.123456789+01:30", NOW),
        ("2026-11-22T09:30:33.123456789-05:00", NOW),
        ("2026-11-22T14:30:33.5Z", NOW // SECOND_NS * SECOND_NS + 500_000_000),
        ("2026-11-22T14:30", MIDNIGHT + (14 * 60 + 30) * 60 * SECOND_NS),
        ("2026-11-22", MIDNIGHT),
        ("today", MIDNIGHT),
        ("15m", NOW - 900 * SECOND_NS),
        ("2d", NOW - 2 * DAY_NS),
        ("1h30m", NOW - 5400 * SECOND_NS),
        ("1w", NOW - 7 * DAY_NS),
        ("0s", NOW),
    ],
)
def test_forms_of_a_moment(text: str, expected: int) -> None:
    assert parse_moment(text, NOW) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterdayish", "now", "14:30", "15", "15 m", "-15m", "2y", "m"),
        *("2026-13-01", "2026-02-30", "2026-11-22T25:00Z", "2026-11-22Z", "2026-11-22\n"),
        *("2026-11-22T14:30:33.1234567890Z", "2026-11-22T14:30+25:00"),
        *("1\u0665m", "2026-11-2\u0662"),  # digits, but not of ASCII
    ],
)
def test_what_is_no_moment_is_said_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="is no moment: "):
        parse_moment(text, NOW)


@given(moments)
def test_a_printed_moment_is_read_back_exactly(time_ns: int) -> None:
    assert parse_moment(format_moment(time_ns), NOW) == time_ns


@given(moments, st.integers(-23 * 60 - 59, 23 * 60 + 59))
def test_an_offset_names_the_same_moment(time_ns: int, offset_minutes: int) -> None:
    zone = datetime.timezone(datetime.timedelta(minutes=offset_minutes))
    seconds = time_ns // SECOND_NS
    text = datetime.datetime.fromtimestamp(seconds, zone).isoformat()
    assert parse_moment(text, NOW) == seconds * SECOND_NS


@given(moments, st.integers(1, 9))
def test_clock_and_date_are_cut_never_rounded(time_ns: int, digits: int) -> None:
    whole = format_moment(time_ns)
    assert whole.startswith(f"{format_date(time_ns)}T{format_clock(time_ns, digits)}")
    assert len(format_clock(time_ns, digits)) == 9 + digits
