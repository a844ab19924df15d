"""Gaps in what a host sends, and its silence."""

from __future__ import annotations

import pytest

from pythonaudit.archive.silence import Watch
from pythonaudit.integrity.log import build_record

SECOND = 1_000_000_000
START, STOP, QUIET = "start", "stop", ""


def watch(*records: tuple[str, int], interval: int | None = 60) -> Watch:
    """A log of these records, each with its second; each sent by itself."""
    found = Watch()
    for action, second in records:
        found.promise(interval)
        kind = {"record": "agent", "action": action} if action else {"record": "quiet"}
        found.add(build_record({**kind, "time_ns": second * SECOND}))
    return found


def said(found: Watch, newest: int, now: int) -> list[str]:
    return [one.reason.partition(":")[0] for one in found.findings(newest * SECOND, now * SECOND)]


@pytest.mark.parametrize(
    ("records", "gaps"),
    [
        ([(START, 0), (QUIET, 60), (QUIET, 300)], 0),  # twice the interval, and two minutes
        ([(START, 0), (QUIET, 60), (QUIET, 301)], 1),
        ([(START, 0), (STOP, 60), (START, 5000), (QUIET, 5100)], 0),  # stopped in order
        ([(START, 0), (START, 5000), (QUIET, 5100)], 1),  # killed, or without power
        ([(QUIET, 0), (QUIET, 5000)], 0),  # no agent
        ([(START, 0), (QUIET, 1000), (QUIET, 2000)], 2),
    ],
)
def test_gaps(records: list[tuple[str, int]], gaps: int) -> None:
    newest = records[-1][1]
    assert len(said(watch(*records), newest, newest)) == gaps


def test_silence() -> None:
    assert said(watch((START, 0)), 0, 240) == []
    assert said(watch((START, 0)), 0, 241) == ["it has stopped sending"]
    assert said(watch((START, 0), (STOP, 9)), 9, 10**6) == []
    assert said(watch((QUIET, 0)), 0, 10**6) == []
    assert said(watch((START, 0), interval=None), 0, 10**6) == []


def test_a_promise_holds_until_the_next_is_kept() -> None:
    """Who promises more rarely from now on has promised what he promised until now."""
    found = Watch()
    for interval, second in ((60, 0), (3600, 60), (60, 3000)):
        found.promise(interval)
        kind = {"record": "agent", "action": "start"} if not second else {"record": "quiet"}
        found.add(build_record({**kind, "time_ns": second * SECOND}))
    assert said(found, 3000, 3000) == []
    assert said(found, 3000, 3241) == ["it has stopped sending"]


def test_many_gaps_are_not_all_shown() -> None:
    found = watch(*[(START, 1000 * at) for at in range(30)])
    assert said(found, 29000, 29000)[-1] == "and 9 more such gaps"


def test_what_is_no_record_is_left_out() -> None:
    found = watch((START, 0))
    found.add(b"nonsense")
    assert said(found, 0, 100) == []
