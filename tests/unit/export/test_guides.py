"""The guides on formats and targets say what the code does."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from pythonaudit import catalog
from pythonaudit.errors import UsageError
from pythonaudit.export.formats import FILES, LINES, cef, ecs, ocsf
from pythonaudit.export.formats.csv import COLUMNS
from pythonaudit.export.formats.ocsf_finding import ALERT
from pythonaudit.export.targets import GROUP, Misconfigured, Unavailable, open_target, parse_address
from tests.conftest import ROOT
from tests.exported import alerted, catalogued, packaged, recorded, samples
from tests.property.test_export_formats import parse_cef
from tests.unit.export.test_ecs import leaves

GUIDES = ROOT / "docs" / "guide"
FORMATS = (GUIDES / "formats.md").read_text()
EVENTS = [*recorded(), *samples(), *catalogued(), packaged(), alerted()]


def rows(section: str) -> Iterator[list[str]]:
    """The rows of the tables of a section, without what begins each."""
    text = FORMATS.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    for line in text.splitlines():
        if line.startswith("| `") or re.match(r"\| \d", line):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_format_is_there() -> None:
    said = re.findall(r"^\| `(\w+)` \| one ", FORMATS, re.MULTILINE)
    assert said == [*LINES, *FILES]


def test_the_fields_of_ecs() -> None:
    said = [name for row in rows("ECS") for name in words(row[0])]
    written = {name for event in EVENTS for name, _ in leaves(ecs.build(event))}
    written |= {f"pythonaudit.{name}" for event in EVENTS for name in ecs.build(event)["pythonaudit"]}
    assert len(said) == len(set(said))
    assert set(said) == written


def paths(document: dict[str, Any], before: str = "") -> Iterator[str]:
    for name, value in document.items():
        yield before + name
        if isinstance(value, dict):
            yield from paths(value, f"{before}{name}.")


def test_the_attributes_of_ocsf() -> None:
    said = {name for row in rows("OCSF") if not row[0][0].isdigit() for name in words(row[0])}
    written = {path for event in EVENTS for path in paths(ocsf.build(event))}
    assert said - written == set()
    untold = {path for path in written if not any(f"{path}.".startswith(f"{name}.") for name in said)}
    assert untold == {"metadata", "actor"}


def test_the_classes_of_ocsf() -> None:
    """Each that is said is used for the events that are said."""
    table = [row for row in rows("OCSF") if row[0][0].isdigit()]
    said = [int(number) for row in table for number in re.findall(r"\d+", row[0])]
    used: dict[str, set[int]] = {}
    for event in EVENTS:
        used.setdefault(event.event, set()).add(ocsf.build(event)["class_uid"])
    assert sorted(said) == sorted({number for numbers in used.values() for number in numbers})
    for row in table:
        numbers = set(map(int, re.findall(r"\d+", row[0])))
        for name in words(row[1]):
            assert (catalog.lookup(name) or name == ALERT) and used[name] & numbers, name


def test_the_keys_of_cef() -> None:
    said = {name: words(row[1]) for row in rows("CEF") for name in words(row[0])}
    written: dict[str, list[str]] = {}
    for event in EVENTS:
        _, found = parse_cef(cef.build_line(event).decode())
        for key in found:
            if not key.endswith("Label"):
                written[key] = [found[f"{key}Label"]] if f"{key}Label" in found else []
    assert said == written


def test_versions() -> None:
    assert f"`ecs.version` | {ecs.VERSION}" in FORMATS
    assert f"`metadata.profiles` | {ocsf.VERSION}, `host`" in FORMATS
    schema = json.loads((ROOT / "tests" / "schemas" / f"ocsf-{ocsf.VERSION}.json").read_text())
    attributes = schema["classes"]["0"]["properties"]
    assert "attestation_list" not in attributes and "raw_data_hash" in attributes  # nothing for integrity but this
    assert set(COLUMNS) >= set(json.loads(recorded()[0].to_json()))


@pytest.fixture
def own_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of the guide, installed as pip would."""
    text = (GUIDES / "own-target.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (project,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (name, value), = re.findall(r'^(\w+) = "(.+)"$', project, re.MULTILINE)  # fmt: skip
    assert len(code.split("\n\n\n", 1)[1].strip().splitlines()) <= 35
    (tmp_path / f"{value.partition(':')[0]}.py").write_text(code)
    installed = tmp_path / "audit_sqlite-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: audit-sqlite\nVersion: 1\n")
    (installed / "entry_points.txt").write_text(f"[pythonaudit.targets]\n{name} = {value}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])


def test_a_target_of_ones_own(own_target: None, tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    target: Any = open_target(parse_address(f"sqlite:{path}?timeout=0"))
    events = recorded()[:100]
    assert target.send(events) == (0, "")
    target.send(events[50:])  # as after an answer that got lost
    with sqlite3.connect(path) as other:
        found = dict(other.execute("SELECT id, event FROM events").fetchall())
        assert found == {event.id: event.to_json().decode() for event in events}
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable, match="database is locked"):
            target.send(recorded()[100:101])
        other.rollback()
    other.close()
    target.send(recorded()[100:101])
    target.close()
    with pytest.raises(Misconfigured, match="unable to open"):
        open_target(parse_address(f"sqlite:{tmp_path}/no/such/place.db"))
    with pytest.raises(UsageError, match="no path"):
        open_target(parse_address("sqlite:"))
    with pytest.raises(UsageError, match="no option colour"):
        open_target(parse_address(f"sqlite:{path}?colour=red"))


def test_every_target_is_named() -> None:
    text = re.sub("```.*?```", "", (GUIDES / "shipping.md").read_text(), flags=re.DOTALL)
    named = {word.partition("://")[0].partition(":/")[0].partition(":NAME")[0] for word in words(text)}
    assert {point.name for point in entry_points(group=GROUP)} - {"sqlite", "webhook+http"} <= named
