"""The guide for writers of rules says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from pythonaudit.detect.fields import FIELDS, OPEN
from pythonaudit.detect.lint import FILE_NAME
from pythonaudit.detect.pipeline import FOREIGN
from tests.conftest import ROOT
from tests.sigma_corpus import compile_all

GUIDE = (ROOT / "docs" / "guide" / "rules.md").read_text()


def test_every_field_is_told() -> None:
    rows = re.findall(r"^\| `([\w.…]+)` \| (\w+) \| (.+) \|$", GUIDE, re.MULTILINE)
    expected = [(name, field.kind, field.meaning) for name, field in FIELDS.items()]
    assert rows == expected + [(f"{name}…", "texts", meaning) for name, meaning in OPEN.items()]


def test_every_log_source_is_told() -> None:
    for category, foreign in FOREIGN.items():
        assert f"`{category}`" in GUIDE
        told = {name for name in foreign.fields if f"`{name}`" in GUIDE}
        assert told >= set(foreign.fields) - {"ProcessId", "ProcessName", "ParentUser"}


def test_the_example_is_a_rule() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert len(compile_all([text.encode()])) == 1


def test_file_names_are_told() -> None:
    assert "python_audit_" in GUIDE
    assert FILE_NAME.fullmatch("python_audit_name.yml")
    assert not FILE_NAME.fullmatch(Path("Name.yml").name)
