"""Events at hand are what the view says of them, in every column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pythonaudit.query.at_hand import build_processes, open_events
from pythonaudit.query.connection import Connection, connect
from tests import stores
from tests.archives import archived_journal
from tests.journal_writer import SegmentWriter

WITHOUT = {"batch"}  # a name of its own


def rows(connection: Connection) -> tuple[list[str], list[dict[str, Any]]]:
    relation = connection.sql("SELECT * FROM events ORDER BY time_ns, process, slot, number")
    said = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    return relation.columns, [{name: row[name] for name in row if name not in WITHOUT} for row in said]


def test_the_view_over_events_at_hand_is_the_view(tmp_path: Path) -> None:
    def writers() -> Any:
        for number in range(3):
            writer = SegmentWriter(process=bytes([number]) * 16, pid=number)
            thread = writer.thread()
            thread.context({"user": f"u{number}"})
            for line in range(5):
                writer.ticks += 1
                thread.event("open", [f"data/../{line}", "r", 0], stack=[("/srv/app.py", line + 1, "f")])
                thread.event(f"order={line}", [line])
            yield writer

    journal = archived_journal(stores.save(tmp_path, writers(), "journal"))
    with connect(journal) as connection:
        expected = rows(connection)
    with open_events(list(journal.events()), build_processes([])) as connection:
        found = rows(connection)
        assert connection.sql("SELECT count(*) FROM processes").fetchall() == [(0,)]
    assert found == expected
    assert len(found[1]) == 30 and found[1][0]["stack"] == '[{"file":"/srv/app.py","line":1,"function":"f"}]'
