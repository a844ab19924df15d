"""The agent's task that keeps retention: what goes, with the defaults and with holds, and what is counted."""

from __future__ import annotations

import time
from pathlib import Path

from pythonaudit.agent.config import Config, parse_config
from pythonaudit.agent.figures import Figures
from pythonaudit.agent.problems import Problems
from pythonaudit.agent.retaining import Retaining
from pythonaudit.archive.sealer import Sealer
from pythonaudit.integrity.writer import Writer
from tests.archives import DAY_NS, archived_journal, lines, move, write

HOLD = '[retention]\nsize = "1KiB"\n[[hold]]\nname = "case-17"\nreason = "a letter"\n'


def retain(directory: Path, config: Config) -> tuple[Figures, Problems]:
    figures, problems = Figures(), Problems(lambda _: None)
    sealer = Sealer(Writer(directory), if_any=True)
    Retaining(directory, (), config, sealer, figures, problems).run()
    return figures, problems


def fill(directory: Path, *ages: int) -> None:
    for process, age in enumerate(ages, 1):
        write(directory, process, begin_ns=time.time_ns() - age * DAY_NS)
        move(directory)


def test_the_defaults(tmp_path: Path) -> None:
    fill(tmp_path, 40, 10)
    before = len(lines(archived_journal(tmp_path)))
    figures, problems = retain(tmp_path, Config())
    assert (figures.dropped, problems.count) == (before // 2, 0)
    assert len(lines(archived_journal(tmp_path))) == before - figures.dropped


def test_what_is_held_stays_and_is_told(tmp_path: Path) -> None:
    fill(tmp_path, 40)
    figures, problems = retain(tmp_path, parse_config(HOLD))
    assert (figures.dropped, problems.count) == (0, 1)
    assert "held: case-17" in problems.latest[-1][1]


def test_where_nothing_is_archived(tmp_path: Path) -> None:
    figures, problems = retain(tmp_path, Config())
    assert (figures.dropped, figures.dropped_files, problems.count) == (0, 0, 0)
    assert not (tmp_path / "archive").exists()
