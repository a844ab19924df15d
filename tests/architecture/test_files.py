"""Files stay short enough to be understood, say what they are for, and are named for it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("src", "native", "tests", "bench", "evals", "examples")
GENERATED = {"event_table.h", "offsets.h"}
LIMITS = {".py": 500, ".c": 800, ".h": 800}
#: Names that say nothing about what is inside.
EMPTY_NAMES = {"common", "helper", "helpers", "misc", "util", "utils"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
#: Directories of one machine. Examples in the documents use /srv and /home/alice.
ONE_MACHINE = re.compile(r"/root/|/home/(?!alice\b)\w+/|\.pyenv/versions/\d")


def sources() -> Iterator[Path]:
    """Every file of ours that is written by hand."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in LIMITS and path.name not in GENERATED:
                yield path


def texts() -> Iterator[Path]:
    """The sources, the documents and the chores; not this file, which spells the words out."""
    yield from (path for path in sources() if path != Path(__file__).resolve())
    yield from sorted(ROOT.glob("*.md"))
    yield from sorted((ROOT / "docs").rglob("*.md"))
    yield from (path for path in (ROOT / "Makefile", ROOT / ".ci" / "run") if path.exists())


def names(paths: Iterator[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_there_is_something_to_check() -> None:
    assert {"src/pythonaudit/errors.py", "native/format.h"} <= set(names(sources()))


def test_no_file_is_too_long() -> None:
    too_long = [p for p in sources() if len(p.read_text().splitlines()) >= LIMITS[p.suffix]]
    assert names(iter(too_long)) == []


def test_names_say_something() -> None:
    assert [name for name in names(sources()) if Path(name).stem in EMPTY_NAMES] == []


def test_every_module_opens_with_its_manual() -> None:
    without = []
    for path in sources():
        text = path.read_text()
        if path.suffix == ".py":
            manual = not text.strip() or bool(ast.get_docstring(ast.parse(text)))
        else:  # that of NAME.c may be in NAME.h
            manual = text.startswith("/*") or path.with_suffix(".h").exists()
        if not manual:
            without.append(path)
    assert names(iter(without)) == []


@pytest.mark.parametrize("pattern", [UNFINISHED, ONE_MACHINE], ids=["unfinished", "one machine"])
def test_no_text_holds(pattern: re.Pattern[str]) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (UNFINISHED, "# TODO: later"),
        (ONE_MACHINE, "cd /root/project"),
        (ONE_MACHINE, "python = '/home/bob/bin/python'"),
    ],
)
def test_the_patterns_bite(pattern: re.Pattern[str], line: str) -> None:
    assert pattern.search(line)
