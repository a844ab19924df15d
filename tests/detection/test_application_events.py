"""docs/guide/application-events.md: what it tells applications to say is what the rules look for."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from pythonaudit.detect.explain import count_matches
from pythonaudit.detect.library import OURS, Library, load_documents, load_library
from pythonaudit.detect.rules import Correlation
from tests.commands import run

TEXT = (Path(__file__).parents[2] / "docs" / "guide" / "application-events.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
ROWS = [row.split(" | ") for row in re.findall(r"^\| (.* \| `.*`.*) \|$", TEXT, re.MULTILINE)]
TABLE = {what: [set(re.findall("`([^`]+)`", cell)) for cell in cells] for what, *cells in ROWS}
#: What a row of the table is about, by the title of the rule.
TITLES = {
    "a login failed": "Failed Login Told By An Application",
    "somebody logged in": "Login Told by an Application",
    "a password was changed": "Password Change Told by an Application",
    "an act of administration": "Administration at Odd Hours",
    "access was denied": "Denied Access Told by an Application",
    "data was exported": "Export Told by an Application",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return load_library(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the guide's code raises, as if it were night."""
    place = tmp_path_factory.mktemp("guide")
    (place / "app.py").write_text("".join(CODE))
    assert run(place / "store", "run", "--", sys.executable, "app.py", cwd=place).returncode == 0
    lines = run(place / "store", "log", "--category", "application", "--format", "jsonl").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    return [{**event, "time": event["time"][:11] + "02" + event["time"][13:]} for event in found]


@pytest.mark.parametrize("what", TITLES)
def test_both_ways_to_say_it_are_understood(library: Library, events: list[dict[str, Any]], what: str) -> None:
    (rule,) = (rule for rule in library.rules if rule.head.title == TITLES[what])
    assert count_matches(library, rule, events) == 2


def test_words_of_the_table_are_those_of_the_rules() -> None:
    assert set(TITLES) <= set(TABLE)
    documents = [document for path in OURS.glob("*.yml") for document in load_documents(path)]
    by_title = {document.content["title"]: document.content for document in documents}
    for what, title in TITLES.items():
        detection = by_title[title]["detection"]
        words, names, _ = TABLE[what]
        assert set(detection["selection_said_text"]["template|contains"]) == words
        assert set(detection["selection_said_name"]["event|startswith"]) == names


def test_rules_group_and_count_by_documented_fields_alone(library: Library) -> None:
    documented = {name for row in TITLES for name in TABLE[row][2]}
    used = {
        name.removeprefix("fields.")
        for rule in library.rules
        if isinstance(rule, Correlation)
        for some in (*rule.group_by, *rule.values)
        for name in some
        if name.startswith("fields.")
    }
    assert used and used <= documented


def test_the_table_of_rules_is_true(library: Library) -> None:
    levels = {rule.head.title: rule.head.level for rule in library.rules}
    told = dict(re.findall(r"^\| ([A-Z][\w -]+) \| .* \| (low|medium|high) \|$", TEXT, re.MULTILINE))
    assert len(told) == 9 and told.items() <= levels.items()
