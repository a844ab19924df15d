"""What a target has acknowledged: which events of which segments, and how many in all. Home of SQLite.

    cursor = Cursor(directory / "export" / "siem.cursor", "otlp+http://127.0.0.1:4318")
    mask = cursor.unsent(key, events)             # of a segment, those that were not acknowledged
    cursor.acknowledge(events, finished)          # the other side has them; these segments are through
    cursor.close()

An event is told by its segment, thread and number. Of a segment that is not through, spans of numbers are kept for each
thread; of one that is, no more than that. What was acknowledged and could not be noted is sent once more by whoever
starts next, with the same `id`.

Only one can hold a cursor. It is a database, so that it is whole after a crash at any instant.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pythonaudit.archive.leaves import is_outside
from pythonaudit.errors import StoreError
from pythonaudit.integrity.state import Span, add_span
from pythonaudit.journal.decode import Event
from pythonaudit.journal.reader import Key
from pythonaudit.journal.segment import Column, Events

FORMAT = 1
SUFFIX = ".cursor"
_TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, count INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS segments (
    process TEXT, sequence INTEGER, uid INTEGER, spans TEXT, PRIMARY KEY (process, sequence, uid)
) WITHOUT ROWID;
"""
_PUT = "INSERT OR REPLACE INTO segments VALUES (?, ?, ?, ?)"
_REMOVE = "DELETE FROM segments WHERE process = ? AND sequence = ? AND uid = ?"
_COUNT = "INSERT OR REPLACE INTO counts VALUES (?, ?)"
_BUSY = ("database is locked", "database table is locked")


class Cursor:
    """A place in the trail.

    Args:
        path: of its file, made where it is not there; None: nothing is kept.
        what: the target and what goes there, for people who look into the file.

    Attributes:
        counts: events that were `sent` and acknowledged, or `refused` by the other side; segments that were `gone`
            before all of it was sent.
        made_ns: when it was made, nanoseconds since 1970.

    Raises:
        StoreError: it cannot be opened or made, is held by another, damaged, or of a later format.
    """

    def __init__(self, path: Path | None, what: str = "") -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self._finished: set[Key] = set()
        self._spans: dict[Key, dict[int, list[Span]]] = {}
        self._changed: set[Key] = set()
        self._saved: Counter[str] = Counter()
        try:
            if path is not None:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            self._database = sqlite3.connect(path or ":memory:", timeout=0.0, isolation_level=None)
            with suppress(sqlite3.NotSupportedError):
                self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute("BEGIN EXCLUSIVE")
            self._load(what)
            self._database.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise self._error(error) from None

    def _load(self, what: str) -> None:
        for statement in filter(str.strip, _TABLES.split(";")):
            self._database.execute(statement)
        about = dict(self._database.execute("SELECT name, value FROM about"))
        if int(about.get("format", FORMAT)) > FORMAT:
            raise StoreError(f"{self.path}: a cursor of a later version", hint="use that version")
        self.made_ns = int(about.get("made_ns", time.time_ns()))
        put = "INSERT OR REPLACE INTO about VALUES (?, ?)"
        said = [("format", str(FORMAT)), ("target", what), ("made_ns", str(self.made_ns))]
        self._database.executemany(put, said)
        self.counts.update(dict(self._database.execute("SELECT name, count FROM counts")))
        for process, sequence, uid, said in self._database.execute("SELECT * FROM segments"):
            if said is None:
                self._finished.add((process, sequence, uid))
            else:
                self._spans[process, sequence, uid] = _parse_spans(said)

    def has(self, key: Key) -> bool:
        """Whether a segment is through."""
        return key in self._finished

    def unsent(self, key: Key, events: Events) -> Column | None:
        """Which events of a segment were not acknowledged; None: all of them."""
        known = self._spans.get(key)
        return is_outside(events, known) if known else None

    def acknowledge(self, events: Iterable[Event], finished: Iterable[Key] = ()) -> None:
        """The other side has these events; nothing more comes of these segments."""
        for key, slot, span in _runs(events):
            slots = self._spans.setdefault(key, {})
            slots[slot] = add_span(slots.get(slot, []), span)
            self._changed.add(key)
        for key in finished:
            self._spans.pop(key, None)
            self._finished.add(key)
            self._changed.add(key)

    def expect(self, keys: Iterable[Key]) -> None:
        """These segments are to be sent, if nothing of them was yet."""
        for key in keys:
            if key not in self._spans and key not in self._finished:
                self._spans[key] = {}
                self._changed.add(key)

    def retain(self, is_there: Callable[[Key], bool]) -> None:
        """Forgets segments that are nowhere any more; counts those of them that were not through as gone."""
        gone = [key for key in self._spans if not is_there(key)]
        past = [key for key in self._finished if not is_there(key)]
        self._finished.difference_update(past)
        for key in gone:
            del self._spans[key]
        self._changed.update(gone, past)
        if gone:
            self.counts["gone"] += len(gone)

    def save(self) -> None:
        """Keeps all that was acknowledged and counted.

        Raises:
            StoreError: it could not be; then it is kept with the next call, if that comes.
        """
        if not self._changed and self.counts == self._saved:
            return
        try:
            self._database.execute("BEGIN")
            try:
                rows = [(*key, self._said(key)) for key in self._changed]
                self._database.executemany(_REMOVE, [row[:3] for row in rows if row[3] == ""])
                self._database.executemany(_PUT, [row for row in rows if row[3] != ""])
                self._database.executemany(_COUNT, self.counts.items())
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._error(error) from None
        self._changed.clear()
        self._saved = self.counts.copy()

    def close(self) -> None:
        """Lets another have it. What was not saved is lost."""
        with suppress(sqlite3.Error):
            self._database.close()

    def _said(self, key: Key) -> str | None:
        """As the database has it: None: through; empty: it is nowhere any more."""
        if key in self._finished:
            return None
        return json.dumps(self._spans[key], separators=(",", ":")) if key in self._spans else ""

    def _error(self, error: Exception) -> StoreError:
        reason = str(getattr(error, "strerror", None) or error)
        if reason in _BUSY:
            who = "an agent, or another 'pythonaudit export', ships to this target"
            return StoreError(f"{self.path}: is in use", hint=who)
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        hint = "remove it, and everything is sent once more" if damaged else None
        return StoreError(f"{self.path}: {reason}", hint=hint)


def _runs(events: Iterable[Event]) -> Iterable[tuple[Key, int, Span]]:
    """Events as spans of numbers that follow each other, of each thread of each segment."""
    begun: dict[tuple[Any, int], list[int]] = {}  # by segment and slot: the first, and the first that is not meant
    keys: dict[int, Key] = {}
    for event in events:
        decoder = event.decoder
        key = keys.get(id(decoder))
        if key is None:
            header = decoder.segment.header
            key = keys[id(decoder)] = decoder.process.id, header.sequence, decoder.process.uid
        place = key, event.thread.slot
        span = begun.get(place)
        if span is not None and span[1] == event.number:
            span[1] += 1
            continue
        if span is not None:
            yield key, event.thread.slot, (span[0], span[1])
        begun[place] = [event.number, event.number + 1]
    for (key, slot), (first, end) in begun.items():
        yield key, slot, (first, end)


def _parse_spans(text: str) -> dict[int, list[Span]]:
    try:
        return {
            int(slot): [(int(first), int(end)) for first, end in spans] for slot, spans in json.loads(text).items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise sqlite3.DatabaseError(f"spans that make no sense: {error}") from None
