"""Legal holds: which of them touch a batch.

A hold says what must stay: a stretch of time, hosts, runs; all that it gives must meet in one and the same segment,
as far as the batch can tell. Where it cannot tell (its rows of `segments` cannot be read), it is touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol

import pyarrow as pa

from pythonaudit.archive.manifest import Archive, Entry
from pythonaudit.archive.parts import read_part

_COLUMNS = ("host", "run", "begin_ns", "end_ns")


class Hold(Protocol):
    """What retention leaves alone (`agent.config.Hold` is one)."""

    @property
    def name(self) -> str:
        """For people, and for the record."""

    @property
    def reason(self) -> str:
        """Why."""

    @property
    def since_ns(self) -> int | None:
        """From when on, nanoseconds since 1970; None: from the beginning."""

    @property
    def until_ns(self) -> int | None:
        """Before when; None: without end."""

    @property
    def host(self) -> str | None:
        """A glob; None: all."""

    @property
    def run(self) -> str | None:
        """A glob; None: all, and what belongs to no run."""


def find_holds(archive: Archive, entry: Entry, holds: Iterable[Hold]) -> frozenset[str]:
    """The names of the holds that touch a batch."""
    some = list(holds)
    if not some:
        return frozenset()
    rows: list[Mapping[str, Any]] | None = []
    for part in entry.of("segments"):
        try:
            rows += read_part(archive, part, _COLUMNS).to_pylist()
        except (OSError, pa.ArrowException) as error:
            archive.note(archive.path(part), error)
            rows = None
            break
    return frozenset(hold.name for hold in some if _touches(hold, entry, rows))


def touches(hold: Hold, begin_ns: int, end_ns: int, host: str | None, run: str | None) -> bool:
    """Whether a hold touches something.

    Args:
        hold: which.
        begin_ns, end_ns: when it was.
        host, run: where, and of which run; empty: of none. None: nobody can tell.
    """
    return _in_time(hold, begin_ns, end_ns) and _matches(hold.host, host) and _matches(hold.run, run)


def describe_hold(hold: Hold) -> dict[str, Any]:
    """A hold as the record `hold` has it: what it does not give is left out."""
    said = {
        "hold": hold.name,
        "reason": hold.reason,
        "since_ns": hold.since_ns,
        "until_ns": hold.until_ns,
        "host": hold.host,
        "run": hold.run,
    }
    return {name: value for name, value in said.items() if value is not None}


def _touches(hold: Hold, entry: Entry, rows: Sequence[Mapping[str, Any]] | None) -> bool:
    # Times of events and of their segments agree, but for clocks that were set: either is enough.
    parts = [
        part
        for part in entry.of("events")
        if _in_time(hold, part.begin_ns or 0, part.end_ns or 0) and _matches(hold.host, part.host)
    ]
    if rows is None:
        return bool(parts) or hold.run is not None or not entry.of("events")
    if hold.run is None and parts:
        return True
    return any(
        _matches(hold.run, row["run"] or "")
        and _matches(hold.host, row["host"] or "")
        and (bool(parts) or _in_time(hold, row["begin_ns"] or 0, row["end_ns"] or 0))
        for row in rows
    )


def _in_time(hold: Hold, begin_ns: int, end_ns: int) -> bool:
    since, until = hold.since_ns, hold.until_ns
    return (until is None or begin_ns < until) and (since is None or end_ns >= since)


def _matches(glob: str | None, text: str | None) -> bool:
    return glob is None or text is None or fnmatchcase(text, glob)
