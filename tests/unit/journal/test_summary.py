"""How much is in a segment, by the standard library alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pythonaudit.errors import FormatError
from pythonaudit.journal import layout
from pythonaudit.journal.summary import summarise, summarise_segment
from tests.journal_writer import SegmentWriter, build_json

SRC = Path(__file__).resolve().parents[3] / "src"


def make() -> SegmentWriter:
    writer = SegmentWriter(attributes={"run": "nightly", "cwd": "/"})
    first, second = writer.thread(1), writer.thread(2)
    for _ in range(150):
        first.event("open", ["x" * 50])
        second.event("login: user=a", inline=True)
    second.count("builtins.id", 1000)
    first.count("builtins.id", 5)
    writer.losses[layout.LOSSES.index("evicted")] = 4
    writer.ticks += 5
    writer.meta(build_json({"cwd": "/srv", "ended": "clean"}))
    return writer


def test_summary(tmp_path: Path) -> None:
    summary = summarise(make().save(tmp_path))
    assert summary is not None
    assert (summary.events, summary.counted, summary.losses) == (300, 1005, {"evicted": 4})
    assert (summary.process, summary.run) == ("101112131415161718191a1b1c1d1e1f", "nightly")
    assert summary.attributes == {"run": "nightly", "cwd": "/srv", "ended": "clean"}
    assert summary.header.state == layout.STATE_CLEAN_END
    assert summary.damage == []


def test_absent_and_unbegun(tmp_path: Path) -> None:
    path = make().save(tmp_path)
    path.write_bytes(bytes(131072))
    assert summarise(path) is None
    path.unlink()
    assert summarise(path) is None


def test_what_is_no_segment(tmp_path: Path) -> None:
    path = make().save(tmp_path)
    link = path.with_name("link.pyaudit")
    link.symlink_to(path)
    with pytest.raises(FormatError, match=r"link\.pyaudit: refused: a symbolic link"):
        summarise(link)
    path.write_bytes(b"x" * 5000)
    with pytest.raises(FormatError, match="no journal segment"):
        summarise(path)


def test_damage_costs_the_damaged_part() -> None:
    data = bytearray(make().build())
    data[12288:12292] = b"LOST"
    summary = summarise_segment(data)
    assert 0 < summary.events < 300
    assert [one.offset for one in summary.damage] == [12288]


@pytest.mark.parametrize("module", ["layout", "files", "chunks", "summary"])
def test_standard_library_is_enough(module: str) -> None:
    """Without `site` there are no others: an import of one would fail."""
    code = f"import sys; sys.path.insert(0, {str(SRC)!r}); import pythonaudit.journal.{module}"
    subprocess.run([sys.executable, "-S", "-I", "-c", code], check=True)
