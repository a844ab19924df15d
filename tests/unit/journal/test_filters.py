"""What a filter says of itself."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from pythonaudit.journal.filters import EventFilter

OF_PROCESS_AND_TIME = {"since_ns", "until_ns", "runs", "hosts", "processes", "pids", "without", "without_names"}
OF_NAME_AND_SOURCE = {"names", "categories", "sources"}
VALUES: dict[str, Any] = {
    "contexts": (("user", "john"),),
    "text": "x",
    "without": "0" * 32,
    "since_ns": 1,
    "until_ns": 1,
}


def test_nothing_is_asked() -> None:
    assert not EventFilter().asks_of_events
    assert not EventFilter().asks_of_details


@pytest.mark.parametrize("name", [field.name for field in fields(EventFilter)])
def test_what_is_asked(name: str) -> None:
    wanted = EventFilter(**{name: VALUES.get(name, ("x",))})
    assert wanted.asks_of_events == (name not in OF_PROCESS_AND_TIME)
    assert wanted.asks_of_details == (name not in OF_PROCESS_AND_TIME | OF_NAME_AND_SOURCE)
