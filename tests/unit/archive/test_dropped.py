"""The list of what retention has removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pythonaudit.archive.dropped import Dropped, parse_dropped
from pythonaudit.errors import FormatError
from tests.archives import archived_journal, process_of
from tests.retained import fill, left


def test_the_list_reads_as_it_was_written() -> None:
    process, other = (process_of(one).hex() for one in (1, 2))
    keys = [(process, 0, 0), (process, 1, 0), (process, 3, 0), (process, 3, 7), (other, 0, 0)]
    said = Dropped(2, 3, 4, 5, ("a",), frozenset(keys))
    assert parse_dropped(said.to_json()) == said
    assert len(json.loads(said.to_json())["segments"]) == 4
    assert parse_dropped(Dropped().to_json()) == Dropped()


HOSTILE: dict[str, Any] = {
    "no object": [],
    "later format": {"format": 2},
    "no segments": {"segments": None},
    "a number for a process": {"segments": [[1, 0, 0, 1]]},
    "too many": {"segments": [["0" * 32, 0, 0, 1 << 60]]},
    "fewer than none": {"segments": [["0" * 32, 0, 0, -1]]},
    "before the first": {"segments": [["0" * 32, 0, -5, 1]]},
    "too few words": {"segments": [["0" * 32, 0, 0]]},
    "names are numbers": {"last": [1]},
    "a time is text": {"begin_ns": "1"},
    "infinite": {"events": float("inf")},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_lists_cost_nothing_else(tmp_path: Path, what: str) -> None:
    sound: dict[str, Any] = json.loads(Dropped().to_json())
    said = sound | HOSTILE[what] if isinstance(HOSTILE[what], dict) else HOSTILE[what]
    with pytest.raises(FormatError):
        parse_dropped(json.dumps(said))
    fill(tmp_path, 1)
    (tmp_path / "archive" / "dropped.json").write_text(json.dumps(said))
    assert left(tmp_path) == {1}
    assert len(archived_journal(tmp_path).survey().trails) == 1
