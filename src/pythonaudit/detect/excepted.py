"""What is excepted from rules: DIR/rules/exceptions.yml, which somebody reviews.

    exceptions:
      - rule: 1d0f7f0e-…             # id or name
        condition:                   # as a detection of Sigma; a list of such: one of them
          package.name: pip
          path|startswith: /srv/app/
        reason: the installer writes its own start-up file
        expires: 2027-01-01          # optional: from that day on it does not hold

A match is excepted if the condition holds of its event; of a correlation, events of which it holds do not take part.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pythonaudit.detect.documents import Document, parse_documents
from pythonaudit.detect.library import EXCEPTIONS, Library, read_file
from pythonaudit.detect.rules import Rule
from pythonaudit.errors import RuleError

_KEYS = {"rule", "condition", "reason", "expires"}


@dataclass(frozen=True, slots=True)
class Exempt:
    """One exception.

    Attributes:
        rule: the id of the rule.
        sql: a condition on the view `events`.
        reason: why, for people.
        file, line: where it stands.
        expires: from this day on it does not hold; None: it always does.
    """

    rule: str
    sql: str
    reason: str
    file: str
    line: int
    expires: datetime.date | None


def load_exceptions(
    directory: Path, library: Library, placeholders: Mapping[str, Sequence[str]], today: datetime.date
) -> tuple[list[Exempt], list[Exempt]]:
    """The exceptions that hold, and those whose time is over.

    Args:
        directory: where `exceptions.yml` lies, if it does.
        library: the rules. An exception to a rule that is none of them is a mistake, unless a rule is refused.
        placeholders: for values with `expand`.
        today: in UTC.

    Raises:
        RuleError: the file cannot be read, or what stands in it makes no sense. Then none of it holds: whoever went
            on without could not tell alerts that were reviewed from new ones.
    """
    path = directory / EXCEPTIONS
    if not path.exists():
        return [], []
    words = {
        word.lower(): rule.head.id for rule in library.rules for word in (rule.head.id, rule.head.name) if word
    }
    found: list[Exempt] = []
    for document in parse_documents(read_file(path), str(path)):
        items = document.content.get("exceptions")
        unknown = sorted(set(document.content) - {"exceptions"})
        if unknown:
            raise document.refuse(f"{unknown[0]!r} is no key of this file", unknown[0])
        if not isinstance(items, list):
            raise document.refuse("'exceptions' takes a list", "exceptions")
        found += (_build(document, at, item, words, placeholders) for at, item in enumerate(items))
    over = [one for one in found if one.expires is not None and one.expires <= today]
    return [one for one in found if one not in over], over


def _build(
    document: Document, at: int, item: Any, words: Mapping[str, str], placeholders: Mapping[str, Sequence[str]]
) -> Exempt:
    place = ("exceptions", str(at))
    if not isinstance(item, dict):
        raise document.refuse("an exception has 'rule', 'condition' and 'reason'", *place)
    unknown = sorted(set(map(str, item)) - _KEYS)
    if unknown:
        raise document.refuse(f"{unknown[0]!r} is no key of an exception", *place, unknown[0])
    for key in ("rule", "condition", "reason"):
        if not item.get(key):
            raise document.refuse(f"an exception needs {key!r}", *place)
    rule = words.get(str(item["rule"]).lower())
    if rule is None:
        raise document.refuse(f"no rule {item['rule']!r} is there", *place, "rule", hint="'rules list' tells them")
    expires = item.get("expires")
    if expires is not None and (not isinstance(expires, datetime.date) or isinstance(expires, datetime.datetime)):
        raise document.refuse("'expires' takes a day, such as 2027-01-01", *place, "expires")
    sql = _compile(document, place, item["condition"], placeholders)
    return Exempt(rule, sql, str(item["reason"]), document.file, document.line_of(*place), expires)


def _compile(
    document: Document, place: tuple[str, ...], condition: Any, placeholders: Mapping[str, Sequence[str]]
) -> str:
    from pythonaudit.detect.compile import compile_documents

    content = {
        "title": "an exception",
        "logsource": {"product": "python", "service": "audit"},
        "detection": {"excepted": condition, "condition": "excepted"},
    }
    # Complaints name the line of the condition: where it stands in this file is where a rule has its detection.
    at = (*place, "condition")
    lines = {
        ("detection", "excepted", *keys[len(at) :]): line
        for keys, line in document.lines.items()
        if keys[: len(at)] == at
    }
    line = document.line_of(*at)
    inner = Document(document.file, line, content, {("detection",): line, **lines})
    compiled, refused = compile_documents([inner], placeholders)
    if refused:
        raise refused[0]
    (rule,) = compiled
    if not isinstance(rule, Rule):
        raise RuleError(f"{document.file}:{line}: no condition")
    return rule.sql
