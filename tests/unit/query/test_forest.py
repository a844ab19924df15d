"""What of a forest is shown: what was asked for, what is below, and the way to it."""

from __future__ import annotations

import pytest

from tests.process_rows import BOOT_NS, MS, Rows, outline


@pytest.fixture
def rows() -> Rows:
    """a > (b > (c, git), d), and e apart."""
    rows = Rows()
    rows.process("a", 10, 9, 1000, "a.py", until=9000)
    rows.process("b", 11, 10, 2000, "b.py", until=4000)
    rows.process("c", 12, 11, 3000, "c.py", until=3500)
    rows.popen("b", 3600, "git")
    rows.process("d", 13, 10, 6000, "d.py", until=7000)
    rows.process("e", 20, 9, 6000, "e.py", until=7000)
    return rows


def shown(rows: Rows, ids: str, since: int | None = None, until: int | None = None) -> list[str]:
    """An outline in which what was not asked for is in parentheses. Times are milliseconds."""
    since_ns = None if since is None else BOOT_NS + since * MS
    until_ns = None if until is None else BOOT_NS + until * MS
    forest = rows.forest().select(lambda row: row.id in ids, since_ns, until_ns)
    chosen = [node.is_selected for node in forest.walk()]
    return [line if is_chosen else f"({line})" for line, is_chosen in zip(outline(forest), chosen, strict=True)]


def test_what_is_below_and_the_way_to_it(rows: Rows) -> None:
    assert shown(rows, "b") == ["(a)", "  b ppid", "    c ppid", "    git [not-python]"]


def test_several(rows: Rows) -> None:
    assert shown(rows, "ce") == ["(a)", "(  b ppid)", "    c ppid", "e"]


def test_nothing(rows: Rows) -> None:
    assert shown(rows, "") == []


def test_the_time_holds_for_what_is_below_too(rows: Rows) -> None:
    assert shown(rows, "abcde", since=3600, until=6000) == ["a", "  b ppid", "    git [not-python]"]
    assert shown(rows, "a", since=5000) == ["a", "  d ppid"]
    assert shown(rows, "b", since=5000) == []


def test_an_instant_is_in_and_the_end_is_out(rows: Rows) -> None:
    assert shown(rows, "c", since=3500) == ["(a)", "(  b ppid)", "    c ppid"]
    assert shown(rows, "c", until=3005) == []
    assert shown(rows, "c", until=3006) == ["(a)", "(  b ppid)", "    c ppid"]
