"""What a log says of a period: silence, removals, what was in force; and logs that somebody has changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pythonaudit.export import words
from pythonaudit.export.sealing import MOST, Sealing, read_sealing
from pythonaudit.export.verdict import TAMPERED, verdict_of
from tests.seals import ORIGIN

MINUTE = 60_000_000_000


def write(directory: Path, *records: dict[str, Any]) -> None:
    """A log with these records: kind, minute and the rest."""
    (directory / "seal").mkdir(exist_ok=True)
    begin = {"record": "begin", "time_ns": 0, "format": 1, "origin": ORIGIN, "version": "0"}
    lines = [json.dumps(record | {"time_ns": int(record.pop("at", 0) * MINUTE)}) for record in [begin, *records]]
    (directory / "seal" / f"{0:016d}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def read(directory: Path, since: float, until: float, now: float = 10_000) -> Sealing:
    return read_sealing(directory, int(since * MINUTE), int(until * MINUTE), int(now * MINUTE))


def quiet(*minutes: float) -> list[dict[str, Any]]:
    return [{"record": "quiet", "at": minute} for minute in minutes]


def test_silence_counts_while_an_agent_runs(tmp_path: Path) -> None:
    start, stop = ({"record": "agent", "action": action, "version": "0"} for action in ("start", "stop"))
    write(tmp_path, {"at": 10, **start}, *quiet(11, 12, 15, 16), {"at": 17, **stop}, *quiet(100))
    said = read(tmp_path, 0, 200)
    assert (said.silent, said.silences) == (1, [(12 * MINUTE, 15 * MINUTE)])
    assert said.longest_ns == 83 * MINUTE
    assert said.agent
    assert not read(tmp_path, 20, 200).agent
    assert read(tmp_path, 13, 14).silences == []
    assert read(tmp_path, 13, 14.5).silences == [(12 * MINUTE, int(14.5 * MINUTE))]
    assert read(tmp_path, 0, 12.5).silent == 0


def test_silence_goes_on_to_the_end(tmp_path: Path) -> None:
    """Whoever was killed says nothing any more; what has not come yet is no silence."""
    write(tmp_path, {"at": 10, "record": "agent", "action": "start", "version": "0"}, *quiet(11))
    assert read(tmp_path, 0, 100, now=50).silences == [(11 * MINUTE, 50 * MINUTE)]
    assert read(tmp_path, 0, 100, now=12).silences == []
    assert read(tmp_path, 60, 100).silences == [(11 * MINUTE, 100 * MINUTE)]
    assert read(tmp_path, 60, 100).agent


def test_many_silences_are_bounded(tmp_path: Path) -> None:
    start = {"at": 0, "record": "agent", "action": "start", "version": "0"}
    write(tmp_path, start, *quiet(*(number * (3 + number / 1000) for number in range(1, 500))))
    said = read(tmp_path, 0, 10_000, now=0)
    assert (said.silent, len(said.silences)) == (499, MOST)
    shortest = min(end - begin for begin, end in said.silences)
    assert shortest > 3 * MINUTE


def test_what_is_in_force_at_the_end_of_the_period(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"at": 1, "record": "setting", "name": "retention.age", "value": 5.0},
        {"at": 2, "record": "hold", "action": "place", "hold": "a", "reason": "b"},
        {"at": 3, "record": "setting", "name": "retention.age", "value": None},
        {"at": 4, "record": "hold", "action": "lift", "hold": "a", "reason": "b"},
        {
            "at": 5,
            "record": "dropped",
            "batches": ["x", "y"],
            "events": 7,
            "begin_ns": 1,
            "end_ns": None,
            "rule": "age",
            "parts": [],
            "files": [{}],
        },
        {"at": 6, "record": "gone", "process": "p", "sequence": 0, "uid": 0, "events": 3, "reason": "missing"},
        {"at": 7, "record": "events", "events": 11},
        {"at": 8, "record": "of a later version"},
    )
    early, late = read(tmp_path, 0, 2.5), read(tmp_path, 2.5, 100)
    assert (early.settings, list(early.holds), early.records) == ({"retention.age": 5.0}, ["a"], 3)
    assert (late.settings, late.holds, late.records) == ({"retention.age": None}, {}, 6)
    assert dict(late.removed) == {"batches": 2, "files": 1, "events": 7}
    assert (late.lost, late.sealed, late.kinds["other"]) == (3, 11, 1)
    assert [act.kind for act in late.acts] == ["setting", "hold", "dropped", "gone"]
    assert early.begun_ns == late.begun_ns == 0


@pytest.mark.parametrize(
    "record",
    [
        {"record": "setting"},
        {"record": "hold", "action": "place"},
        {"record": "dropped", "batches": 1, "rule": "age", "events": 0, "begin_ns": 0, "end_ns": 0},
        {"record": "dropped", "batches": [], "rule": "age", "events": "many", "begin_ns": 0, "end_ns": 0},
        {"record": "dropped", "batches": [], "rule": "age", "events": 0, "begin_ns": "x", "end_ns": 0},
        {"record": "gone", "events": -1},
        {"record": "events", "events": True},
    ],
)
def test_records_that_make_no_sense_are_told(tmp_path: Path, record: dict[str, Any]) -> None:
    write(tmp_path, {"at": 1, **record})
    said = read(tmp_path, 0, 100)
    assert said.problem.startswith("record 1: ")
    assert verdict_of(tmp_path, [], []).word != "intact"


def test_a_log_that_is_cut_off_before_its_checkpoint(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "seal" / "checkpoint").write_text("nonsense")
    assert verdict_of(tmp_path, [], []).word == TAMPERED


def test_where_nothing_is_sealed(tmp_path: Path) -> None:
    assert not read(tmp_path, 0, 1).exists
    assert verdict_of(tmp_path, [], []).word == "not sealed"


@given(st.integers(-(1 << 70), 1 << 70), st.floats(0, allow_nan=False, allow_infinity=False), st.text())
def test_words_take_anything(time_ns: int, seconds: float, value: str) -> None:
    assert words.moment(time_ns)
    assert words.duration(seconds)
    for one in (time_ns, seconds, value, None, True, [value]):
        assert isinstance(words.setting("retention.age", one), str)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(1, "1 second"), (120, "2 minutes"), (90, "90 seconds"), (30 * 86_400, "30 days"), (0.5, "0.5 seconds")],
)
def test_durations(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said
