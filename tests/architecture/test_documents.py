"""Documents agree with the code, and with each other."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pythonaudit import errors
from pythonaudit.cli import VERBS
from tests.integration.test_threat_model import BYPASSES

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """What can be linked to: headings, as Markdown names them, and explicit ids."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    named = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    return named | set(re.findall(r'id="([^"]+)"', text))


def dead_links(document: Path) -> Iterator[str]:
    for target in LINK.findall(document.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        found = (document.parent / path).resolve() if path else document
        inside = found.suffix == ".md" and found.exists() and anchor
        if not found.exists() or (inside and anchor not in anchors(found.read_text())):
            yield target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    assert list(dead_links(document)) == []


def test_dead_links_are_found(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("# A title\n[good](#a-title) [gone](nowhere.md) [no such](#title)\n")
    assert list(dead_links(document)) == ["nowhere.md", "#title"]


def test_every_error_is_documented() -> None:
    classes = {
        (value.code, name, value.exit_status)
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.PythonAuditError)
    }
    text = (ROOT / "docs" / "errors.md").read_text()
    rows = re.findall(r'^\| <a id="([\w-]+)"></a>`[\w-]+` \| `(\w+)` \| (\d+) \|', text, re.MULTILINE)
    assert {(code, name, int(status)) for code, name, status in rows} == classes


def test_every_variable_is_documented() -> None:
    source = (ROOT / "native" / "settings.c").read_text()
    known = set(re.findall(r'"(PYTHONAUDIT(?:_[A-Z_]+)?)"', source))
    rows = re.findall(r"^\| `(PYTHONAUDIT(?:_[A-Z_]+)?)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == known


def test_every_verb_is_shown() -> None:
    text = (ROOT / "README.md").read_text()
    assert [verb for verb in VERBS if f"pythonaudit {verb}" not in text] == []


def test_every_bypass_is_tried() -> None:
    """The rows of the threat model and the labels of its tests are the same."""
    rows = re.findall(
        r"^\| `([\w-]+)` \| .* \| \*\*(\w+)\*\*", (ROOT / "docs" / "threat-model.md").read_text(), re.MULTILINE
    )
    assert len(rows) == len(dict(rows))
    assert dict(rows) == BYPASSES
    assert set(BYPASSES.values()) == {"blocked", "detected", "disclosed"}


def test_every_decision_names_its_drawbacks() -> None:
    for record in sorted((ROOT / "docs" / "adr").glob("[0-9]*.md")):
        assert "\n## Drawbacks\n" in record.read_text(), record.name
