"""The keys of an event as columns, as `log --format csv` has them.

What is neither text nor number is JSON in its cell. What does not print is escaped, as on a terminal: a text with
line ends in it would else be several lines.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pythonaudit.export.formats.safe import csv_line, json_text, neutralise, neutralise_json

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event

# The keys of an event, in the order of its JSON.
COLUMNS = (
    *("time", "event", "category", "source", "args", "fields", "template", "id", "host", "boot"),
    *("process", "pid", "ppid", "tid", "thread", "interpreter", "run", "python", "exe", "argv", "cwd"),
    *("uid", "user", "stack", "package", "context", "notes"),
)
HEADER = csv_line(COLUMNS).encode()
START = HEADER
IS_JSON = False


def cells(event: Event) -> list[Any]:
    """What an event has for each of `COLUMNS`; None: nothing."""
    said: dict[str, Any] = json.loads(event.to_json())
    return [said.get(column) for column in COLUMNS]


def build_line(event: Event) -> bytes:
    """An event, with its line end."""
    shown = [neutralise_json(json_text(cell)) if isinstance(cell, list | dict) else cell for cell in cells(event)]
    return csv_line(shown, neutralise).encode()
