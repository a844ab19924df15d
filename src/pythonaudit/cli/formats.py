"""Events as text, one at a time and in constant memory: a table for people, JSON lines, CSV.

    form = FORMATS["jsonl"](output.is_terminal)
    output.write(form.header())
    for event in events:
        output.write(form.line(event))

The table of a terminal is cut to its width, and the day has a line of its own when it changes; in a pipe
nothing is cut, and each line has its whole time. JSON lines are exactly `Event.to_json()`. CSV has the keys of
JSON as columns; what is neither text nor number is JSON in its cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Protocol

from pythonaudit.cli import times
from pythonaudit.cli.describe import describe_args, process_label, where_text
from pythonaudit.cli.render import Screen, csv_line, neutralise, neutralise_json
from pythonaudit.export.formats import jsonl
from pythonaudit.export.formats.csv import COLUMNS, cells
from pythonaudit.journal.decode import Event, note_names
from pythonaudit.journal.process import Process
from pythonaudit.journal.stacks import Frame

# Notes that change what a person may conclude from a line; what is masked shows itself as ***.
_SHOWN_NOTES = {
    "reserved-name": "not raised by CPython",
    "name-changed": "name changed",
    "truncated": "cut",
}

_STYLES: Mapping[str, str] = {
    "application": "bold",
    "code-execution": "red",
    "deserialization": "red",
    "dns": "magenta",
    "file": "blue",
    "import": "green",
    "native": "red",
    "network": "magenta",
    "package": "green",
    "process": "yellow",
}

_CLOCK_COLUMNS = 12
_EVENT_COLUMNS = 18
_KEPT = 10_000
_KEPT_BYTES = 512
_LEAST_DETAILS = 5
_WIDTH_FOR_CODE = 72


class Format(Protocol):
    """How events are written."""

    def header(self) -> str:
        """What comes before the first event."""

    def line(self, event: Event) -> str | bytes:
        """One event, with its line end."""


class Table:
    """One line an event: time, process, event with what matters of it, line of code."""

    _host_columns = 0

    def __init__(self, is_terminal: bool) -> None:
        self._screen = Screen(is_terminal)
        self._day = ""
        self._processes: dict[str, str] = {}
        self._described: dict[tuple[str, bytes, str | None], str] = {}

    def header(self) -> str:
        """Nothing: the lines speak for themselves."""
        return ""

    def line(self, event: Event) -> str:
        """One event; on a terminal after the day, if that is a new one."""
        width = self._screen.width
        if width is None:
            return self._whole_line(event) + "\n"
        line = self._fitted_line(event, width) + "\n"
        day = times.format_date(event.time_ns)
        if day == self._day:
            return line
        self._day = day
        return self._screen.paint(f"{day} UTC", "dim") + "\n" + line

    def _whole_line(self, event: Event) -> str:
        where = _where(event.code_frame, None)
        cells = [
            times.format_moment(event.time_ns, 6),
            self._process(event, None),
            self._screen.paint(neutralise(event.event), _STYLES.get(event.category, "cyan")),
            self._details(event),
            _notes(event.note_bits),
            where and f" [{where}]",
        ]
        return " ".join(cell for cell in cells if cell)

    def _fitted_line(self, event: Event, width: int) -> str:
        process_columns = self._host_columns + (16 if width < 100 else 18 if width < 140 else 22)
        rest = max(width - _CLOCK_COLUMNS - process_columns - 2, 20)
        where_columns = rest // 3 if width < 100 else rest * 2 // 5
        parts = [neutralise(event.event), self._details(event), _notes(event.note_bits)]
        if rest - where_columns > 60 and parts[1] and self._screen.columns(parts[0]) < _EVENT_COLUMNS:
            parts[0] = self._screen.fit(parts[0], _EVENT_COLUMNS)
        where = ""
        if width >= _WIDTH_FOR_CODE:
            # A long message takes room from directories and function.
            left = rest - self._screen.columns(" ".join(parts)) - 1
            where = _where(event.code_frame, min(left, where_columns))
            if self._screen.columns(where) > where_columns:
                where = self._screen.fit(where, where_columns)
        self._cut(parts, rest - self._screen.columns(where) - 1 if where else rest)
        used = self._screen.columns(" ".join(filter(None, parts)))
        paint = self._screen.paint
        styles = (_STYLES.get(event.category, "cyan"), "none", "red")
        cells = [
            paint(times.format_clock(event.time_ns, 3), "dim"),
            paint(self._process(event, process_columns), "cyan"),
            *(paint(part, style) for part, style in zip(parts, styles, strict=True)),
            " " * (rest - where_columns - used - 2) if where else "",
            paint(where, "dim"),
        ]
        return " ".join(cell for cell in cells if cell)

    def _cut(self, parts: list[str], most: int) -> None:
        """Makes name, details and notes fit; the notes stay whole."""
        columns, fit = self._screen.columns, self._screen.fit
        left = most - columns(parts[2]) - bool(parts[2])
        if columns(parts[0]) > left:
            parts[0] = fit(parts[0], max(left, 1))
        left -= columns(parts[0]) + 1
        if columns(parts[1]) > left:
            parts[1] = fit(parts[1], left) if left > _LEAST_DETAILS else ""

    def _details(self, event: Event) -> str:
        # The same is done again and again. Ids of revealed texts are those of one segment: not kept.
        key = (event.event, event.args, event.process.python)
        details = self._described.get(key)
        if details is None:
            values = event.values
            details = neutralise(describe_args(event.name_values(values), values, event.info))
            if len(event.args) <= _KEPT_BYTES and b'"$text"' not in event.args:
                if len(self._described) >= _KEPT:
                    self._described.clear()
                self._described[key] = details
        return details

    def _process(self, event: Event, columns: int | None) -> str:
        label = self._processes.get(event.process.id)
        if label is None:
            if len(self._processes) >= _KEPT:
                self._processes.clear()
            label = self._processes[event.process.id] = neutralise(self._label(event.process))
        if columns is None:
            return f"{label:<20}"
        if self._screen.columns(label) > columns:
            # The pid stays whole: people search for it.
            name, bracket, pid = label.rpartition("[")
            left = max(columns - len(pid) - 2, 1)
            label = f"{self._screen.head(name, left)}…{bracket}{pid}"
        return self._screen.fit(label, columns)

    def _label(self, process: Process) -> str:
        return process_label(process)


class FleetTable(Table):
    """The same of many hosts: before the process stands which."""

    _host_columns = 8

    def _label(self, process: Process) -> str:
        return f"{process.host or '?'} {process_label(process)}"


class JsonLines:
    """One JSON object a line; on a terminal with what does not print escaped, and still the same JSON."""

    def __init__(self, is_terminal: bool) -> None:
        self._is_terminal = is_terminal

    def header(self) -> str:
        """Nothing."""
        return ""

    def line(self, event: Event) -> bytes:
        """One event."""
        line = jsonl.build_line(event)
        return neutralise_json(line) if self._is_terminal else line


class Csv:
    """One line an event, after one of titles."""

    def __init__(self, is_terminal: bool) -> None:
        self._is_terminal = is_terminal

    def header(self) -> str:
        """The titles."""
        return csv_line(COLUMNS, self._is_terminal)

    def line(self, event: Event) -> str:
        """One event."""
        return csv_line(cells(event), self._is_terminal)


FORMATS: Mapping[str, Callable[[bool], Format]] = {"table": Table, "jsonl": JsonLines, "csv": Csv}
FLEET_FORMATS: Mapping[str, Callable[[bool], Format]] = {**FORMATS, "table": FleetTable}


@lru_cache(maxsize=512)
def _notes(bits: int) -> str:
    shown = ", ".join(_SHOWN_NOTES[note] for note in note_names(bits) if note in _SHOWN_NOTES)
    return f"({shown})" if shown else ""


@lru_cache(maxsize=_KEPT)
def _where(frame: Frame | None, width: int | None) -> str:
    if frame is None:
        return ""
    file, line, function = frame
    return where_text(neutralise(file), line, neutralise(function), width)
