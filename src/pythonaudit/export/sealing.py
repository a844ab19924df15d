"""What the log of a directory says of a period: what was in force, what was removed, who began and stopped.

    said = read_sealing(directory, since_ns, until_ns)

The log is read once, record by record; of what grows with it only the newest are kept, and all are counted.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pythonaudit.errors import FormatError
from pythonaudit.integrity.log import Log, parse_record

MOST = 100  # of what is told one by one
_MINUTE_NS = 60_000_000_000
#: Records that somebody's decision, or a change of state, is behind.
ACTS = ("begin", "found", "key", "setting", "hold", "dropped", "gone", "void", "agent")


@dataclass(frozen=True, slots=True)
class Act:
    """Something that the log tells of its keeping.

    Attributes:
        time_ns: nanoseconds since 1970.
        kind: of the record.
        values: its other keys, without those that are long.
    """

    time_ns: int
    kind: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Removal:
    """What one record `dropped` names."""

    time_ns: int
    rule: str
    batches: int
    files: int
    events: int
    begin_ns: int | None
    end_ns: int | None


@dataclass(slots=True)
class Sealing:
    """What the log says.

    Attributes:
        exists: whether there is one.
        problem: why it could not be read to its end; empty: it was.
        begun_ns: since when there is one.
        records: how many are of the period.
        kinds: how many of which kind, in the period.
        settings: that were in force at the end of the period, by name.
        holds: that stood at the end of the period, by name.
        acts: in the period; the newest of them.
        removals: in the period; the newest of them.
        removed: batches, files and events removed in the period.
        sealed: events sealed in the period.
        lost: sealed events that had gone before they were archived, in the period.
        silences: stretches between two records of the period that are longer than was promised, with an agent
            running; the longest of them. `silent`: how many.
        longest_ns: the longest stretch between two records of the period.
        agent: whether an agent ran in the period, if only for a while.
        interval_ns: how often silence is signed, at least, where an agent runs.
    """

    exists: bool = False
    problem: str = ""
    begun_ns: int | None = None
    records: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    settings: dict[str, Any] = field(default_factory=dict)
    holds: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    acts: deque[Act] = field(default_factory=lambda: deque(maxlen=MOST))
    removals: deque[Removal] = field(default_factory=lambda: deque(maxlen=MOST))
    removed: Counter[str] = field(default_factory=Counter)
    sealed: int = 0
    lost: int = 0
    silences: list[tuple[int, int]] = field(default_factory=list)
    silent: int = 0
    longest_ns: int = 0
    agent: bool = False
    interval_ns: int = _MINUTE_NS


def read_sealing(
    directory: Path, since_ns: int, until_ns: int, now_ns: int, interval_ns: int = _MINUTE_NS
) -> Sealing:
    """Reads the log.

    Args:
        directory: that of `PYTHONAUDIT_DIR`.
        since_ns, until_ns: the period.
        now_ns: the present: what comes after it is no silence.
        interval_ns: how often silence is signed, as the configuration says.

    Raises:
        StoreError: it may not be read.
    """
    log, said = Log(directory), Sealing(interval_ns=interval_ns)
    said.exists = log.exists
    reader = _Reader(said, since_ns, until_ns)
    try:
        for line in log.lines():
            record = parse_record(line)
            if record["time_ns"] >= until_ns:
                break
            reader.add(record)
    except (FormatError, KeyError, TypeError, AttributeError) as error:
        said.problem = f"record {reader.number}: {error}"
    else:
        reader.end(min(until_ns, now_ns))
    said.silences.sort(key=lambda pair: pair[0] - pair[1])
    del said.silences[MOST:]
    return said


class _Reader:
    def __init__(self, said: Sealing, since_ns: int, until_ns: int) -> None:
        self.said, self.since_ns, self.until_ns = said, since_ns, until_ns
        self.number = 0
        self._before_ns: int | None = None
        self._runs = False  # an agent

    def add(self, record: Mapping[str, Any]) -> None:
        """Takes a record in."""
        said, kind, time_ns = self.said, record["record"], record["time_ns"]
        if said.begun_ns is None:
            said.begun_ns = time_ns
        if kind == "setting":
            said.settings[str(record["name"])] = record["value"]
        elif kind == "hold" and record["action"] == "place":
            said.holds[str(record["hold"])] = record
        elif kind == "hold":
            said.holds.pop(str(record["hold"]), None)
        self._listen(time_ns)
        if kind == "agent":
            self._runs = record["action"] == "start"
        said.agent |= self._runs and time_ns >= self.since_ns
        if time_ns >= self.since_ns:
            self._add(record)
        self.number += 1

    def end(self, time_ns: int) -> None:
        """The period ends here, and nothing more was said in it."""
        if self._runs:
            self.said.agent = True
            self._listen(time_ns)

    def _listen(self, time_ns: int) -> None:
        """Looks how long nothing was said."""
        before, self._before_ns = self._before_ns, time_ns
        if before is None or time_ns < self.since_ns:
            return
        said, silent_ns = self.said, time_ns - before
        said.longest_ns = max(said.longest_ns, silent_ns)
        # A record is written and covered within a second of its time.
        if self._runs and silent_ns > 2 * said.interval_ns:
            said.silent += 1
            said.silences.append((before, time_ns))
            if len(said.silences) > 2 * MOST:
                said.silences.sort(key=lambda pair: pair[0] - pair[1])
                del said.silences[MOST:]

    def _add(self, record: Mapping[str, Any]) -> None:
        said, kind, time_ns = self.said, record["record"], record["time_ns"]
        said.records += 1
        said.kinds[kind if kind in ACTS or kind in _OTHERS else "other"] += 1
        if kind == "events":
            said.sealed += _number(record["events"])
        elif kind == "gone":
            said.lost += _number(record["events"])
        elif kind == "dropped":
            removal = Removal(
                time_ns,
                str(record["rule"]),
                len(record["batches"]),
                len(record.get("files", ())),
                _number(record["events"]),
                *(_number(time) if time is not None else None for time in (record["begin_ns"], record["end_ns"])),
            )
            said.removals.append(removal)
            said.removed.update(batches=removal.batches, files=removal.files, events=removal.events)
        if kind in ACTS:
            values = {name: value for name, value in record.items() if isinstance(value, str | int | float | None)}
            said.acts.append(Act(time_ns, kind, {k: v for k, v in values.items() if k not in _NOT_TOLD}))


_OTHERS = frozenset({"events", "segment", "batch", "closed", "quiet"})
_NOT_TOLD = frozenset({"record", "time_ns", "note", "previous"})


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise FormatError(f"{value!r} is no number")
    return value
