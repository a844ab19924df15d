"""Retention and compaction that come between the parts of a report, or of a query."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pythonaudit.errors import StoreError
from pythonaudit.export import report
from pythonaudit.query.connection import connect
from pythonaudit.query.results import PartsGoneError, Result
from tests.archives import DAY_NS, archived_journal
from tests.journal_writer import BEGIN_NS
from tests.retained import DAY, fill, keep, limits


def test_a_query_whose_parts_have_gone_is_one_line(tmp_path: Path) -> None:
    fill(tmp_path, 40, 1)
    with connect(archived_journal(tmp_path)) as connection:
        keep(tmp_path, limits(age=2 * DAY))
        with pytest.raises(PartsGoneError, match="a part of the archive has gone") as caught:
            list(Result(connection, "SELECT path FROM events").rows())
        assert isinstance(caught.value, StoreError)
        assert caught.value.hint == "the archive was changed meanwhile: run it again"


def test_a_report_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, 40, 1)
    calls = []

    def between(*words: Any) -> report.Activity:
        calls.append(1)
        if len(calls) == 1:
            keep(tmp_path, limits(age=2 * DAY))
        return taken(*words)

    taken = report._activity
    monkeypatch.setattr(report, "_activity", between)
    period = report.Period(BEGIN_NS - 100 * DAY_NS, BEGIN_NS + DAY_NS)
    found = report.take_report(archived_journal(tmp_path), period, report.Asked())
    assert (len(calls), found.activity.events, found.coverage.processes) == (2, 3, 1)
    assert found.unread.rows == []
    assert (found.dropped.batches, found.dropped.events) == (1, 3)
