"""The event as it is: one JSON object a line, exactly what `log --format jsonl` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event

START = b'{"time":"'
IS_JSON = True


def build_line(event: Event) -> bytes:
    """An event, with its line end."""
    return event.to_json() + b"\n"
