"""Which segments were in batches that retention has removed: one small file beside the manifest.

Some of them are in the journal still: in boxes of other users nothing is removed, and a running process keeps its
files to use them again. They must not be archived once more, nor be shown, nor be taken for missing. The standard
library only; what the keys mean is in docs/format/archive.md.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pythonaudit.archive.manifest import FORMAT, Archive
from pythonaudit.durable import write_durably
from pythonaudit.errors import FormatError
from pythonaudit.journal.reader import Key

NAME = "dropped.json"
_PROCESS = re.compile(r"[0-9a-f]{32}")
_MOST_SEGMENTS = 1 << 24


@dataclass(frozen=True, slots=True)
class Dropped:
    """What retention has removed from an archive, since there is one.

    Attributes:
        batches, events: how many.
        begin_ns, end_ns: time of the first and the last event, nanoseconds since 1970; None: there was none.
        last: the batches that were removed last.
        segments: theirs and those of earlier ones, as long as something of their processes is there.
    """

    batches: int = 0
    events: int = 0
    begin_ns: int | None = None
    end_ns: int | None = None
    last: tuple[str, ...] = ()
    segments: frozenset[Key] = frozenset()

    def to_json(self) -> str:
        """As the file has it."""
        whole = {
            "format": FORMAT,
            "batches": self.batches,
            "events": self.events,
            "begin_ns": self.begin_ns,
            "end_ns": self.end_ns,
            "last": list(self.last),
            "segments": _runs(self.segments),
        }
        return json.dumps({name: value for name, value in whole.items() if value is not None}) + "\n"


def load_dropped(archive: Archive) -> Dropped:
    """What was removed; nothing where that cannot be read (noted)."""
    path = archive.root / NAME
    try:
        return parse_dropped(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return Dropped()
    except (OSError, UnicodeDecodeError, FormatError) as error:
        archive.note(path, error)
        return Dropped()


def save_dropped(archive: Archive, dropped: Dropped) -> None:
    """Puts the file in place, durably. Under the archive's lock.

    Raises:
        OSError: it could not be written; then nothing has changed.
    """
    write_durably(archive.root / NAME, dropped.to_json().encode())


def parse_dropped(text: str) -> Dropped:
    """Reads the file.

    Raises:
        FormatError: it is none, or one of a later format.
    """
    try:
        said: dict[str, Any] = json.loads(text)
        if _number(said["format"]) > FORMAT:
            raise FormatError(f"format {said['format']} is of a later version")
        last = tuple(said["last"])
        if not all(type(name) is str for name in last):
            raise FormatError("batches have names")
        begin, end = (None if said.get(name) is None else _number(said[name]) for name in ("begin_ns", "end_ns"))
        batches, events = _number(said["batches"]), _number(said["events"])
        return Dropped(batches, events, begin, end, last, _parse_runs(said["segments"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"no list of what was dropped: {type(error).__name__} {error}") from None


def _parse_runs(said: Iterable[Any]) -> frozenset[Key]:
    found: list[Key] = []
    for process, uid, first, count in said:
        if not _PROCESS.fullmatch(process) or len(found) + _number(count) > _MOST_SEGMENTS:
            raise FormatError("segments make no sense")
        found += [(process, sequence, _number(uid)) for sequence in range(_number(first), first + count)]
    return frozenset(found)


def _runs(segments: Iterable[Key]) -> list[tuple[str, int, int, int]]:
    """Process, owner, first and number of segments that follow each other."""
    by_process: dict[tuple[str, int], list[int]] = defaultdict(list)
    for process, sequence, uid in segments:
        by_process[process, uid].append(sequence)
    found: list[tuple[str, int, int, int]] = []
    for (process, uid), sequences in sorted(by_process.items()):
        first = previous = None
        for sequence in sorted(sequences):
            if first is None or previous is None or sequence != previous + 1:
                if first is not None and previous is not None:
                    found.append((process, uid, first, previous + 1 - first))
                first = sequence
            previous = sequence
        if first is not None and previous is not None:
            found.append((process, uid, first, previous + 1 - first))
    return found


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} is no whole number")
    return value
