"""Rule files to compiled rules. What cannot be expressed is refused with file, line and reason.

    compiled, refused = compile_documents(parse_documents(data, "rule.yml"), placeholders)

A rule is parsed by pySigma, mapped by pipeline.py and made SQL by backend.py; here it is found out which events it
can match at all, and what correlations refer to. Heavy: pySigma is imported. `library` asks its cache before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionItem,
    ConditionOR,
)
from sigma.correlations import (
    CorrelationConditionAND,
    CorrelationConditionItem,
    CorrelationConditionOR,
    SigmaCorrelationRule,
    SigmaCorrelationType,
    SigmaExtendedCorrelationCondition,
)
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule
from sigma.rule.base import SigmaRuleBase
from sigma.types import SigmaString

from pythonaudit.detect.backend import AuditBackend
from pythonaudit.detect.documents import Document
from pythonaudit.detect.fields import find_field
from pythonaudit.detect.gate import find_gate
from pythonaudit.detect.pipeline import build_pipeline, why_not
from pythonaudit.detect.rules import LEVELS, SECOND_NS, Compiled, Correlation, Head, Rule, Tree
from pythonaudit.detect.sql import TRUE, Refused, join
from pythonaudit.errors import RuleError

_OPERATORS = {"LT": "<", "LTE": "<=", "GT": ">", "GTE": ">=", "EQ": "=", "NEQ": "<>"}
_CONDITION_CHARACTERS = 10_000
_ORDERED, _TEMPORAL = SigmaCorrelationType.TEMPORAL_ORDERED, SigmaCorrelationType.TEMPORAL
_COUNTED = {SigmaCorrelationType.EVENT_COUNT, _ORDERED, _TEMPORAL}


def compile_documents(
    documents: Iterable[Document], placeholders: Mapping[str, Sequence[str]]
) -> tuple[list[Compiled], list[RuleError]]:
    """The rules in documents, and the complaints about those that cannot be had.

    Args:
        documents: of one file.
        placeholders: what `%name%` stands for in values with `expand`.
    """
    compiled: list[Compiled] = []
    refused: list[RuleError] = []
    backend = AuditBackend(build_pipeline(placeholders))
    for document in documents:
        try:
            compiled.append(_compile(document, backend))
        except RuleError as error:
            refused.append(error)
    return compiled, refused


def _compile(document: Document, backend: AuditBackend) -> Compiled:
    content = document.content
    for key in ("action", "filter"):
        if key in content:
            hint = "what is not wanted stands in exceptions.yml" if key == "filter" else "write each rule out"
            raise document.refuse(f"{key!r} is not taken", key, hint=hint)
    try:
        if "correlation" in content:
            return _compile_correlation(document)
        return _compile_rule(document, backend)
    except RuleError:
        raise
    except Refused as error:
        raise document.refuse(error.reason, *_place(document, error.field)) from None
    except SigmaError as error:
        raise document.refuse(_words(error), *_place_of_words(document, str(error))) from None
    except RecursionError:
        raise document.refuse("nested too deep to be read", "detection", "condition") from None
    except Exception as error:  # pySigma on what is no rule: whatever it trips over, that is the reason
        raise document.refuse(f"no rule of Sigma: {_words(error)}", "detection") from None


def _compile_rule(document: Document, backend: AuditBackend) -> Rule:
    for key in ("title", "logsource", "detection"):
        if key not in document.content:
            raise document.refuse(f"a rule needs {key!r}")
    for text in _texts(document.content["detection"], "condition"):
        if len(text) > _CONDITION_CHARACTERS:
            raise document.refuse(
                f"a condition has at most {_CONDITION_CHARACTERS:,} characters", "detection", "condition"
            )
    rule = SigmaRule.from_dict(document.content)
    reason = why_not(rule)
    if reason:
        raise document.refuse(reason, "logsource")
    parts = backend.convert_rule(rule)
    conditions = [condition.parsed for condition in rule.detection.parsed_condition]
    if not parts or None in conditions:
        raise document.refuse("the condition asks for nothing", "detection", "condition")
    names: set[str] | None = set()
    for condition in conditions:
        some = _find_events(condition)
        names = None if names is None or some is None else names | some
    events = None if names is None else tuple(sorted(names))
    implied = [backend.find_implied(condition) for condition in conditions]
    implied_by_all = TRUE if TRUE in implied else join("OR", implied)
    return Rule(_head(document, rule), join("OR", parts), events, find_gate(conditions), implied_by_all)


def _find_events(condition: Any) -> set[str] | None:
    """The names, in lower case, of the events that can match; None: any."""
    if isinstance(condition, ConditionAND):
        known = [some for some in map(_find_events, condition.args) if some is not None]
        return set.intersection(*known) if known else None
    if isinstance(condition, ConditionOR):
        found = list(map(_find_events, condition.args))
        return None if any(some is None for some in found) else set().union(*(some or () for some in found))
    if isinstance(condition, ConditionFieldEqualsValueExpression) and condition.field == "event":
        value = condition.value
        if isinstance(value, SigmaString) and len(value.s) == 1 and isinstance(value.s[0], str):
            name = value.s[0]
            return {name.lower()} if name.isascii() else None  # what is not is lowered by the database alone
    assert not isinstance(condition, ConditionItem) or condition.args
    return None


def _compile_correlation(document: Document) -> Correlation:
    rule = SigmaCorrelationRule.from_dict(document.content)
    kind, condition = rule.type, rule.condition
    extended = condition if isinstance(condition, SigmaExtendedCorrelationCondition) else None
    if extended and kind == _ORDERED:
        raise document.refuse(
            "an order cannot be told of 'and', 'or', 'not'; list the rules", "correlation", "condition"
        )
    written = [reference.reference for reference in rule.rules or ()]
    references = tuple(written or (extended.get_referenced_rules() if extended else ()))
    if not references:
        raise document.refuse("it refers to no rule", "correlation", "rules")
    simple: Any = None if extended else condition
    if kind == _ORDERED and (simple.op.name, simple.count) != ("GTE", len(references)):
        raise document.refuse("an order is of all the rules; leave the condition out", "correlation", "condition")
    if kind in _COUNTED and simple is not None and simple.fieldref is not None:
        raise document.refuse(f"{kind.name.lower()} counts events, not fields", "correlation", "condition")
    percentile = None if simple is None else simple.percentile
    if kind == SigmaCorrelationType.VALUE_PERCENTILE and (percentile is None or not 0 <= percentile <= 100):
        raise document.refuse("value_percentile needs 'percentile', 0 to 100", "correlation", "condition")
    wanted = simple.fieldref if simple is not None else None
    names = [wanted] if isinstance(wanted, str) else list(wanted or ())
    if len(names) > 1 and kind != SigmaCorrelationType.VALUE_COUNT:
        raise document.refuse("one field only", "correlation", "condition")
    aliases = {
        alias.alias: {ref.reference: field for ref, field in alias.mapping.items()} for alias in rule.aliases
    }

    def fields_of(reference: str, asked: Iterable[str], key: str) -> tuple[str, ...]:
        found = []
        for name in asked:
            field = aliases[name].get(reference) if name in aliases else name
            if field is None or find_field(field) is None:
                said = (
                    f"alias {name!r} says nothing of {reference!r}" if field is None else f"{field!r} is no field"
                )
                raise document.refuse(said, "correlation", "aliases" if name in aliases else key)
            found.append(field)
        return tuple(found)

    return Correlation(
        _head(document, rule),
        kind.name.lower(),
        references,
        tuple(fields_of(reference, rule.group_by or (), "group-by") for reference in references),
        rule.timespan.seconds * SECOND_NS,
        ">=" if simple is None else _OPERATORS[simple.op.name],
        0 if simple is None else simple.count,
        tuple(fields_of(reference, names, "condition") for reference in references),
        percentile,
        None if extended is None else _tree(extended.parsed, references),
        rule.generate,
    )


def _tree(node: Any, references: Sequence[str]) -> Tree:
    if not isinstance(node, CorrelationConditionItem):
        return ("rule", references.index(node.reference))
    word = {CorrelationConditionAND: "and", CorrelationConditionOR: "or"}.get(type(node), "not")
    return (word, *(_tree(part, references) for part in node.args))


def _head(document: Document, rule: SigmaRuleBase) -> Head:
    content = document.content
    level = rule.level.name.lower() if rule.level else "medium"
    assert level in LEVELS
    name = rule.name or ""
    id = str(rule.id) if rule.id else name or f"{document.file}: {rule.title}"
    tags = tuple(str(tag) for tag in content.get("tags") or ())
    status = rule.status.name.lower() if rule.status else ""
    return Head(id, name, rule.title, status, level, tags, document.file, document.line)


def _texts(content: Any, key: str) -> Iterator[str]:
    found = content.get(key) if isinstance(content, dict) else None
    yield from (str(item) for item in (found if isinstance(found, list) else [found]) if item is not None)


def _place(document: Document, field: str | None) -> tuple[str, ...]:
    """Where a field is asked for, as it was written: a pipeline may have given it another name."""
    for keys in document.lines:
        if keys[0] == "detection" and field is not None and keys[-1].partition("|")[0] == field:
            return keys
    return ("detection",)


def _place_of_words(document: Document, text: str) -> tuple[str, ...]:
    """The key that a complaint of pySigma is about, as far as its words tell."""
    for keys in document.lines:
        modifiers = keys[-1].split("|")[1:]
        if keys[0] == "detection" and any(f"'{word}'" in text for word in (keys[-1], *modifiers)):
            return keys
    for key in ("level", "status", "tags", "date", "modified", "related"):
        if (key,) in document.lines and key in text.lower():
            return (key,)
    return ("correlation",) if "correlation" in document.content else ("detection",)


def _words(error: Exception) -> str:
    """What went wrong, in one line."""
    text = " ".join(str(error).split())
    return text.removesuffix(".") or type(error).__name__
