"""The files made from the catalog: up to date, and what their readers rely on."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pythonaudit import catalog
from pythonaudit.catalog import event_table, generate
from pythonaudit.catalog.coverage import build_coverage
from pythonaudit.catalog.event_table import build_event_table
from pythonaudit.catalog.gaps import gaps

ROW = re.compile(r'    \{"([^"]+)", (\d+), (\d), (\d), (\w+), (\d), \{([^}]*)\}, (\d+)\},')


def test_generated_files_are_up_to_date() -> None:
    assert generate.main(["--check"]) == 0


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree in which nothing has been generated."""
    (tmp_path / "native").mkdir()
    (tmp_path / "docs").mkdir()
    shutil.copy(generate.ROOT / "native" / "format.h", tmp_path / "native")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    return tmp_path


def test_check_names_what_is_out_of_date(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 1
    assert "native/event_table.h, docs/coverage.md" in capsys.readouterr().err
    assert not (tree / "docs" / "coverage.md").exists()
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    with (tree / "docs" / "coverage.md").open("a") as page:
        page.write("by hand\n")
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err.startswith("out of date: docs/coverage.md;")


def test_outside_a_source_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert generate.main([]) == 3
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_event_table_has_every_event_in_strcmp_order() -> None:
    rows = ROW.findall(build_event_table())
    assert len(rows) == len(catalog.events())
    assert [row[0].encode() for row in rows] == sorted(name.encode() for name in catalog.events())
    for index, (name, length, mode, mode_stdlib, sets, nargs, args, number) in enumerate(rows):
        info = catalog.events()[name]
        assert int(length) == len(name)
        assert catalog.MODES[int(mode)] == info.mode
        assert catalog.MODES[int(mode_stdlib)] == info.mode_stdlib
        assert (sets == "PA_SET_SECURITY") == info.security
        assert int(nargs) == len(info.args)
        assert args == (", ".join(f"PA_ARG_{rule.upper()}" for rule in info.arg_rules) or "0")
        assert int(number) == index


def test_event_table_numbers_the_rules_in_order() -> None:
    numbers = re.findall(r"PA_ARG_(\w+) = (\d+),", build_event_table())
    assert numbers == [(rule.upper(), str(i)) for i, rule in enumerate(catalog.ARG_RULES)]


def test_event_that_the_structure_cannot_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_table, "MAX_ARGS", 8)
    with pytest.raises(ValueError, match=r"code\.__new__"):
        build_event_table()


def test_coverage_names_every_event_and_gap() -> None:
    page = build_coverage()
    table = page[page.index("## Every event") :]
    assert [name for name in catalog.events() if f"| `{name}` |" not in table] == []
    assert [gap.name for gap in gaps() if gap.what not in page] == []


def test_coverage_is_well_formed() -> None:
    columns = None
    for line in build_coverage().splitlines():
        if not line.startswith("|"):
            columns = None
            continue
        found = line.replace("\\|", "").count("|")
        assert columns in (None, found), line
        columns = found
