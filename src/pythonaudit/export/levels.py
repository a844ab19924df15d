"""How much an event matters to those who know levels only.

An audit event has none: it is an attempt, not a judgement (rules judge). An exception that nobody caught is an error; what
is in the catalog's set `security` is worth a notice; everything else informs.
"""

from __future__ import annotations

from typing import NamedTuple

from pythonaudit.catalog import EventInfo


class Level(NamedTuple):
    """A level, as others number it.

    Attributes:
        name: for people.
        syslog: severity of RFC 5424.
        otlp: SeverityNumber of OpenTelemetry, by the table in its data model.
    """

    name: str
    syslog: int
    otlp: int


ERROR, NOTICE, INFO = Level("error", 3, 17), Level("notice", 5, 10), Level("info", 6, 9)


def level_of(info: EventInfo | None) -> Level:
    """The level of an event.

    Args:
        info: what the catalog knows of its name.
    """
    if info is None:
        return INFO
    if info.category == "exception":
        return ERROR
    return NOTICE if info.security else INFO
