"""How numbers, times and settings are written in a report."""

from __future__ import annotations

import time

_SECOND_NS = 1_000_000_000
_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_SIZES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def moment(time_ns: int | None) -> str:
    """A moment, to the second: `2026-11-22 14:30:33Z`."""
    if time_ns is None:
        return ""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(time_ns // _SECOND_NS))
    except (OSError, OverflowError, ValueError):
        return f"{time_ns} ns"


def number(count: int, one: str, many: str = "") -> str:
    """`1 event`, `1,204 events`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """`30 days`, in the largest unit that fits."""
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return number(int(seconds // size), unit)
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"about {number(round(seconds / size), unit)}"
    return f"{seconds:.1f} seconds"


def setting(name: str, value: object) -> str:
    """The value of a setting in words."""
    if value is None:
        return "without end"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if name.endswith("age"):
        return duration(value)
    if name.endswith("size"):
        for size, unit in _SIZES:
            if value >= size and value % size == 0:
                return f"{int(value // size):,} {unit}"
        return number(int(value), "byte")
    return str(value)
