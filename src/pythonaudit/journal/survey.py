"""What segments say but for their events: processes, counts and losses. Values only; `Journal` fills them in."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson

from pythonaudit.journal import layout
from pythonaudit.journal.chunks import Damage, Header
from pythonaudit.journal.decode import SegmentDecoder, format_time
from pythonaudit.journal.process import Process
from pythonaudit.journal.summary import named_losses

_SEGMENT_NAME = re.compile(r"[0-9a-f]+-([0-9a-f]{32})-([0-9]{6,10})\.pyaudit")


_Rank = tuple[int, int, int]
"""Which of two segments of a process is the later one: sequence, end, owner."""

_NEVER_SAID: _Rank = (-1, -1, -1)


@dataclass(slots=True)
class Trail:
    """What one process left.

    Attributes:
        process: as its last segment describes it; what that does not say, as the last one that does.
        begin_ns: when its recording began, nanoseconds since 1970.
        end_ns: when it ended, or the time of the last event that is known.
        ended: whether it said that it ended in order.
        segments: how many files there are of it.
        events, counted: how many events were recorded, and counted instead of recorded.
        losses: how much was lost, by reason.
    """

    process: Process
    begin_ns: int
    end_ns: int
    ended: bool = False
    segments: int = 0
    events: int = 0
    counted: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    _last: _Rank = field(default=(0, 0, 0), compare=False)
    _said: dict[str, _Rank] = field(default_factory=dict, compare=False)

    def describe(self, process: Process, rank: _Rank) -> None:
        """Another segment describes the process. In which order they come is no matter."""
        attributes = dict(self.process.attributes)
        if not self._said:
            self._said = dict.fromkeys(attributes, self._last)
        for name, value in process.attributes.items():
            if rank > self._said.get(name, _NEVER_SAID):
                attributes[name], self._said[name] = value, rank
        self.process = replace(process if rank > self._last else self.process, attributes=attributes)
        self._last = max(self._last, rank)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What one segment says, but for its events.

    Attributes:
        header: of the segment.
        process: who recorded.
        begin_ns, end_ns: when it was begun and ended, or the time of its last event.
        ended: whether the process said that it ended in order.
        events: how many it holds.
        counts: name, source and number of what was counted instead.
        losses: how much was lost, by reason.
    """

    header: Header
    process: Process
    begin_ns: int
    end_ns: int
    ended: bool
    events: int
    counts: tuple[tuple[str, str, int], ...]
    losses: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Counted:
    """How many events of a name a process raised that were counted instead of recorded."""

    process: Process
    event: str
    source: str
    count: int


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that was not recorded, has gone or cannot be read (docs/format/journal.md section 9).

    Attributes:
        time_ns: nanoseconds since 1970, when it was last known to be there.
        process: id, where it is known.
        reason: why.
        event: name of what was lost, where it is known.
        count: how much: events, or what the reason says.
        file: what cannot be read.
    """

    time_ns: int
    process: str | None
    reason: str
    event: str | None
    count: int
    file: Path | None = None

    def to_json(self) -> bytes:
        """As one JSON object."""
        said = {
            "time": format_time(self.time_ns).decode(),
            "process": self.process,
            "reason": self.reason,
            "event": self.event,
            "count": self.count,
            "file": str(self.file) if self.file else None,
        }
        return orjson.dumps({name: value for name, value in said.items() if value is not None})


@dataclass(slots=True)
class Survey:
    """What there is in a journal, all segments together."""

    trails: list[Trail]
    counts: list[Counted]
    losses: list[Loss]


def recorded_of(decoder: SegmentDecoder) -> Recorded:
    """What a segment says, but for its events."""
    segment, header = decoder.segment, decoder.segment.header
    begin_ns = header.begin_realtime
    return Recorded(
        header=header,
        process=decoder.process,
        begin_ns=begin_ns,
        end_ns=header.end_realtime or int(segment.events.time.max(initial=begin_ns)),
        ended=header.state == layout.STATE_CLEAN_END,
        events=len(segment.events),
        counts=tuple(
            (segment.text(one.name), layout.SOURCES.get(one.source, "unknown"), one.count)
            for one in segment.counts
        ),
        losses=named_losses(header),
    )


def add_to_trail(trails: dict[str, Trail], counts: dict[tuple[str, str, str], int], recorded: Recorded) -> None:
    """Adds a segment to what is known of its process."""
    process = recorded.process
    trail = trails.get(process.id)
    rank = recorded.header.sequence, recorded.end_ns, process.uid
    if trail is None:
        trail = trails[process.id] = Trail(process, recorded.begin_ns, recorded.end_ns, _last=rank)
    else:
        trail.describe(process, rank)
    trail.begin_ns = min(trail.begin_ns, recorded.begin_ns)
    trail.end_ns = max(trail.end_ns, recorded.end_ns)
    trail.ended |= recorded.ended
    trail.segments += 1
    trail.events += recorded.events
    trail.losses.update(recorded.losses)
    for event, source, count in recorded.counts:
        counts[process.id, event, source] += count
        trail.counted += count


def losses_of(trails: Iterable[Trail]) -> list[Loss]:
    """What processes lost."""
    return [
        Loss(trail.end_ns, trail.process.id, reason, None, count)
        for trail in trails
        for reason, count in trail.losses.items()
    ]


def losses_by(damage: Iterable[Damage]) -> list[Loss]:
    """Damage as losses: how many bytes of each file."""
    by_path: Counter[Path | None] = Counter()
    for one in damage:
        by_path[one.path] += one.length
    return [
        Loss(time.time_ns(), parse_name(path)[0], layout.LOSS_DAMAGED, None, length, path)
        for path, length in by_path.items()
    ]


def parse_name(path: Path | None) -> tuple[str | None, int | None]:
    """Process and sequence in a segment's file name: <time>-<process>-<sequence>.pyaudit."""
    match = _SEGMENT_NAME.fullmatch(path.name) if path else None
    return (match[1], int(match[2])) if match else (None, None)
