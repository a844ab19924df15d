"""What raises no audit event, and what changes between versions: the contents of `gaps.json`.

`silent` holds, by name, operations that a user may expect to see and does not:
    area       a heading for readers
    what       the operation, Markdown
    versions   versions in which it is silent, such as "3.10+" or "3.10-3.13"
    event      the one event that is missing, where others are raised
    note       what else helps
`changes` holds what a monitor sees differently from the version `since` on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pythonaudit.catalog import parse_span


@dataclass(frozen=True, slots=True)
class Gap:
    """An operation that raises no event, or not the one that is expected."""

    name: str
    area: str
    what: str
    versions: tuple[str, ...]
    event: str | None
    note: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a monitor sees differently from a version on."""

    since: str
    what: str


def gaps() -> tuple[Gap, ...]:
    """What raises no event, in the order of the file."""
    return tuple(
        Gap(
            name=name,
            area=block["area"],
            what=block["what"],
            versions=parse_span(block["versions"]),
            event=block.get("event"),
            note=block.get("note", ""),
        )
        for name, block in _data()["silent"].items()
    )


def changes() -> tuple[Change, ...]:
    """What changes between versions, oldest first."""
    return tuple(Change(block["since"], block["what"]) for block in _data()["changes"])


@cache
def _data() -> dict[str, Any]:
    text = Path(__file__).with_name("gaps.json").read_text("utf-8")
    data: dict[str, Any] = json.loads(text)
    return data
