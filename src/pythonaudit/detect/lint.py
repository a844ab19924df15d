"""How rules are to be written, in the style of SigmaHQ. What is wrong, with file and line; nothing is mended.

    for complaint in lint_file(path, documents): print(complaint)

That a rule can be expressed, that its id is there once, and that samples prove it, others tell (`library`, `explain`).
"""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pythonaudit.detect.documents import Document
from pythonaudit.detect.pipeline import PRODUCT, SERVICE
from pythonaudit.detect.rules import LEVELS

FILE_NAME = re.compile(r"python_audit_[a-z0-9_]{3,90}\.yml")
_STATUS = ("stable", "test", "experimental", "deprecated", "unsupported")
_ORDER = (
    *(
        "title",
        "id",
        "name",
        "related",
        "status",
        "description",
        "references",
        "author",
        "date",
        "modified",
        "tags",
    ),
    *("logsource", "correlation", "detection", "fields", "falsepositives", "level"),
)
_TITLE_CHARACTERS, _DESCRIPTION_CHARACTERS = 110, 30
_SMALL = frozenset(
    {"a", "an", "and", "as", "at", "by", "for", "from", "in", "into", "of", "on", "or", "the", "to"}
)
_SMALL_TOO = frozenset({"via", "with", "without"})
_TACTICS = frozenset(
    {
        *("reconnaissance", "resource-development", "initial-access", "execution", "persistence", "impact"),
        *("privilege-escalation", "defense-evasion", "credential-access", "discovery", "lateral-movement"),
        *("collection", "command-and-control", "exfiltration"),
    }
)
_TECHNIQUE_TAG = re.compile(r"attack\.t[0-9]{4}(\.[0-9]{3})?")
_OTHER_TAG = re.compile(
    r"(?:attack\.[gs][0-9]{4}|cve\.[0-9]{4}-[0-9]{4,}|(?:car|d3fend|detection|stp|tlp)\.[\w.-]+)"
)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

Complaint = tuple[str, str]
"""A key, and what is wrong with it."""


def lint_file(path: Path, documents: Sequence[Document]) -> Iterator[str]:
    """What is wrong with how the rules of a file are written, a line each."""
    if not FILE_NAME.fullmatch(path.name):
        words = "python_audit_ and lower-case words with _ between, .yml"
        yield f"{path}:1: the file's name is not of the form {words}"
    for document in documents:
        for key, reason in _lint(document.content):
            yield f"{document.file}:{document.line_of(key)}: {reason}"


def _lint(content: dict[str, Any]) -> Iterator[Complaint]:
    known = [key for key in content if key in _ORDER]
    for key in content:
        if key not in _ORDER:
            yield key, f"{key!r} is no key of a rule"
    for one, two in zip(known, sorted(known, key=_ORDER.index), strict=True):
        if one != two:
            yield one, f"{one!r} stands where {two!r} should: the order is that of SigmaHQ"
            break
    for key, check in _CHECKS.items():
        if key not in content:
            yield key, f"{key!r} is missing"
            continue
        for reason in check(content[key]):
            yield key, reason
    is_correlation = "correlation" in content
    if not is_correlation and "logsource" not in content:
        yield "logsource", "'logsource' is missing"
    source = content.get("logsource")
    if source is not None and source != {"product": PRODUCT, "service": SERVICE}:
        yield "logsource", f"the log source is not product: {PRODUCT}, service: {SERVICE}"
    if not is_correlation and "detection" not in content:
        yield "detection", "'detection' is missing"
    if "modified" in content:
        for reason in _check_date(content["modified"]):
            yield "modified", reason
        if str(content["modified"]) < str(content.get("date", "")):
            yield "modified", "it was modified before its date"


def _check_title(value: Any) -> Iterator[str]:
    if not isinstance(value, str):
        yield "the title is no text"
        return
    if len(value) > _TITLE_CHARACTERS:
        yield f"the title has more than {_TITLE_CHARACTERS} characters"
    if value.endswith("."):
        yield "the title ends with a full stop"
    words = re.findall(r"[A-Za-z][\w'-]*", value)
    small = [word for word in words[1:] if word[0].islower() and word not in _SMALL | _SMALL_TOO]
    # A word with a dot, a slash or an underscore in it is a name.
    named = {part for name in re.findall(r"\S*[._/]\S*", value) for part in re.findall(r"[A-Za-z][\w'-]*", name)}
    first = [word for word in words[:1] if word[0].islower()]
    wrong = [word for word in first + small if word not in named]
    if wrong:
        yield f"the title is not in title case: {wrong[0]!r}"


def _check_id(value: Any) -> Iterator[str]:
    try:
        found = uuid.UUID(str(value))
    except ValueError:
        yield "the id is no UUID"
        return
    if found.version != 4 or str(found) != value:
        yield "the id is no UUID of version 4, in lower case"


def _check_description(value: Any) -> Iterator[str]:
    if not isinstance(value, str) or len(value.strip()) < _DESCRIPTION_CHARACTERS:
        yield f"the description has less than {_DESCRIPTION_CHARACTERS} characters"


def _check_references(value: Any) -> Iterator[str]:
    if not isinstance(value, list) or not value:
        yield "no reference is given"
        return
    yield from (
        f"{one!r} is no address of a page" for one in value if not str(one).startswith(("https://", "http://"))
    )


def _check_author(value: Any) -> Iterator[str]:
    if not isinstance(value, str) or not value.strip():
        yield "no author is named"


def _check_date(value: Any) -> Iterator[str]:
    is_day = isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    if not is_day and not (isinstance(value, str) and _DAY.fullmatch(value)):
        yield f"{value!r} is no date of the form 2026-11-29"


def _check_tags(value: Any) -> Iterator[str]:
    tags = [str(tag) for tag in value] if isinstance(value, list) else []
    for tag in tags:
        is_tactic = tag.removeprefix("attack.") in _TACTICS and tag.startswith("attack.")
        if not (is_tactic or _TECHNIQUE_TAG.fullmatch(tag) or _OTHER_TAG.fullmatch(tag)):
            yield f"{tag!r} is no tag: attack.tNNNN, attack.tNNNN.NNN, a tactic such as attack.persistence, …"
    if not any(_TECHNIQUE_TAG.fullmatch(tag) for tag in tags):
        yield "no technique of ATT&CK is among the tags"
    if len(set(tags)) < len(tags):
        yield "a tag is there twice"


def _check_false_positives(value: Any) -> Iterator[str]:
    if not isinstance(value, list) or not value:
        yield "no false positive is told; 'Unknown' is one"
        return
    for one in value:
        text = str(one)
        if text.lower() in ("none", "n/a", "-") or not text[:1].isupper():
            yield f"{text!r} tells no false positive: a sentence, or 'Unknown'"


_CHECKS: dict[str, Callable[[Any], Iterator[str]]] = {
    "title": _check_title,
    "id": _check_id,
    "status": lambda value: iter([] if value in _STATUS else [f"the status is none of {', '.join(_STATUS)}"]),
    "description": _check_description,
    "references": _check_references,
    "author": _check_author,
    "date": _check_date,
    "tags": _check_tags,
    "falsepositives": _check_false_positives,
    "level": lambda value: iter([] if value in LEVELS else [f"the level is none of {', '.join(LEVELS)}"]),
}
