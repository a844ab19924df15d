"""Moments as people write and read them. All are UTC, as everywhere in pythonaudit.

`--since` and `--until` take

    2026-11-22T14:30:33.123456789Z     RFC 3339; without an offset: UTC; also with a space for the T,
    2026-11-22T14:30  2026-11-22       without seconds, or the date alone (its first instant)
    15m  2d  1h30m                     ages: that long ago (s, m, h, d, w)
    today                              the first instant of this day

A moment is an `int`: nanoseconds since 1970. The present is an argument, never read here.
"""

from __future__ import annotations

import calendar
import datetime
import re
from functools import lru_cache

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS

_FIRST_NS = calendar.timegm((1, 1, 1, 0, 0, 0)) * SECOND_NS
_END_NS = (calendar.timegm((9999, 12, 31, 23, 59, 59)) + 1) * SECOND_NS
_UNITS_NS = {"s": SECOND_NS, "m": 60 * SECOND_NS, "h": 3600 * SECOND_NS, "d": DAY_NS, "w": 7 * DAY_NS}
_AGE = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
_RFC_3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?"
    r"\s?(?:([Zz])|([+-])(\d\d):(\d\d))?)?",
    re.ASCII,
)


def parse_moment(text: str, now_ns: int) -> int:
    """Reads a moment.

    Args:
        text: one of the forms above.
        now_ns: the present, nanoseconds since 1970.

    Returns:
        Nanoseconds since 1970.

    Raises:
        ValueError: the text is none of these forms, or no such day or hour exists in the years 1 to 9999.
    """
    moment = _parse(text, now_ns)
    if not _FIRST_NS <= moment < _END_NS:
        raise ValueError(f"{text!r} is no moment: it is not in the years 1 to 9999")
    return moment


def _parse(text: str, now_ns: int) -> int:
    if text == "today":
        return now_ns - now_ns % DAY_NS
    if _AGE.fullmatch(text):
        return now_ns - sum(int(amount) * _UNITS_NS[unit] for amount, unit in re.findall(r"(\d+)(\w)", text))
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no moment: write 2026-11-22T14:30:00Z, 2026-11-22, 15m, 2d or today")
    year, month, day, hour, minute, second, fraction, _utc, sign, offset_hours, offset_minutes = match.groups()
    try:
        moment = datetime.datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)
        )
        offset = datetime.time(int(offset_hours or 0), int(offset_minutes or 0))
    except ValueError as error:
        raise ValueError(f"{text!r} is no moment: {error}") from None
    seconds = calendar.timegm(moment.timetuple())
    ahead = (offset.hour * 3600 + offset.minute * 60) * (-1 if sign == "-" else 1)
    return (seconds - ahead) * SECOND_NS + int((fraction or "").ljust(9, "0"))


def format_date(time_ns: int) -> str:
    """The day of a moment: `2026-11-22`."""
    return _day_and_time(time_ns // SECOND_NS)[0]


def format_clock(time_ns: int, digits: int = 9) -> str:
    """The time of day of a moment: `14:30:33.123456789`, with 1 to 9 decimals (cut, not rounded)."""
    return f"{_day_and_time(time_ns // SECOND_NS)[1]}.{time_ns % SECOND_NS:09d}"[: 9 + digits]


def format_moment(time_ns: int, digits: int = 9) -> str:
    """A moment as RFC 3339: `2026-11-22T14:30:33.123456789Z`, with 1 to 9 decimals (cut, not rounded)."""
    return f"{format_date(time_ns)}T{format_clock(time_ns, digits)}Z"


@lru_cache(maxsize=1024)
def _day_and_time(second: int) -> tuple[str, str]:
    moment = datetime.datetime.fromtimestamp(second, datetime.timezone.utc)
    return f"{moment:%Y-%m-%d}", f"{moment:%H:%M:%S}"
