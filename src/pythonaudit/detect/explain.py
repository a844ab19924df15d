"""Why a rule does or does not match an event: each line of it, asked alone. And samples that prove a rule.

for answer in explain(document, events, placeholders): ...   # one an event
prove(library, rule, match, nomatch)                          # what is wrong; empty: nothing
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pythonaudit.detect.documents import Document
from pythonaudit.detect.engine import Engine
from pythonaudit.detect.library import Library
from pythonaudit.detect.rules import Compiled, Rule
from pythonaudit.errors import RuleError
from pythonaudit.query.results import Result
from pythonaudit.query.samples import Sample, open_samples

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a rule, and whether it holds of an event.

    Attributes:
        depth: 0: the whole; 1: a selection; 2: a line of one.
        said: how it is written.
        holds: whether it does.
        value: of the field that is asked for, as text; None: it has none, or none is asked for.
        is_field: whether a field is asked for.
    """

    depth: int
    said: str
    holds: bool
    value: str | None = None
    is_field: bool = False


def explain(
    document: Document, events: Sequence[Sample], placeholders: Mapping[str, Sequence[str]]
) -> Iterator[list[Part]]:
    """For each event, all parts of a rule.

    Args:
        document: the rule, none that correlates.
        events: to be asked.
        placeholders: for values with `expand`.

    Raises:
        RuleError: it cannot be expressed.
    """
    parts = list(_parts(document, placeholders))
    columns = [sql for _, _, sql, _ in parts] + [value or "NULL::VARCHAR" for *_, value in parts]
    count = len(parts)
    # Samples are numbered by their place, whatever their ids say.
    numbered = [{**event, "id": f"{0:032x}/0/{place}"} for place, event in enumerate(events)]
    with open_samples(numbered) as connection:
        query = f"SELECT {', '.join(columns)} FROM events ORDER BY number"
        with Result(connection, query) as result:
            for row in result.rows():
                yield [
                    Part(
                        depth,
                        said,
                        bool(row[at]),
                        row[count + at] and str(row[count + at])[:_SHOWN],
                        value is not None,
                    )
                    for at, (depth, said, _, value) in enumerate(parts)
                ]


def _parts(
    document: Document, placeholders: Mapping[str, Sequence[str]]
) -> Iterator[tuple[int, str, str, str | None]]:
    """Depth, words, a condition in SQL, and an expression of the value that is asked for."""
    detection: dict[str, Any] = document.content["detection"]
    condition = detection.get("condition")
    yield 0, f"condition: {condition}", _sql(document, detection, placeholders), None
    for name, selection in detection.items():
        if name == "condition":
            continue
        yield 1, name, _sql(document, {"one": selection, "condition": "one"}, placeholders), None
        for item in selection if isinstance(selection, list) else [selection]:
            if not isinstance(item, dict):
                yield 2, str(item), _sql(document, {"one": [item], "condition": "one"}, placeholders), None
                continue
            for key, value in item.items():
                sql = _sql(document, {"one": {key: value}, "condition": "one"}, placeholders)
                yield 2, f"{key}: {value}", sql, _value(document, key)


def _sql(document: Document, detection: dict[str, Any], placeholders: Mapping[str, Sequence[str]]) -> str:
    from pythonaudit.detect.compile import compile_documents

    part = Document(document.file, document.line, {**document.content, "detection": detection}, document.lines)
    compiled, refused = compile_documents([part], placeholders)
    if refused:
        raise refused[0]
    (rule,) = compiled
    if not isinstance(rule, Rule):
        raise document.refuse("a correlation has no parts of its own")
    return rule.sql


def _value(document: Document, key: str) -> str | None:
    from pythonaudit.detect.fields import find_field, value_sql
    from pythonaudit.detect.pipeline import FOREIGN

    name = key.partition("|")[0]
    foreign = FOREIGN.get(str(document.content["logsource"].get("category")))
    found = find_field(foreign.fields.get(name, name) if foreign else name)
    return value_sql(found) if found else None


def fires(library: Library, rule: Compiled, events: Sequence[Sample]) -> bool:
    """Whether events give an alert of a rule, together with all that it refers to."""
    if not events:
        return False
    engine = Engine(_alone(library, rule))
    try:
        with open_samples(events) as connection:
            alerts = engine.push(connection, "SELECT * FROM events")
    finally:
        engine.close()
    return any(alert.rule.head.id == rule.head.id for alert in alerts)


def _alone(library: Library, rule: Compiled) -> Library:
    """A rule with what it refers to, and without those that silence it."""
    places = {one.head.id: place for place, one in enumerate(library.rules)}
    needed: set[int] = set()
    waiting = [places[rule.head.id]]
    while waiting:
        place = waiting.pop()
        if place not in needed:
            needed.add(place)
            waiting += library.references.get(library.rules[place].head.id, ())
    kept = sorted(needed)
    new = {place: at for at, place in enumerate(kept)}
    rules = [library.rules[place] for place in kept]
    references = {
        one.head.id: tuple(new[place] for place in library.references[one.head.id])
        for one in rules
        if one.head.id in library.references
    }
    return Library(rules, references, [])


def prove(library: Library, rule: Compiled, match: Sequence[Sample], nomatch: Sequence[Sample]) -> list[str]:
    """What samples do not show: that the rule matches, and that it leaves alone what is nearly the same.

    Args:
        library: with the rule and all that it refers to.
        rule: which.
        match: events that must give an alert.
        nomatch: a near miss: events that must not, at least one of them of a name that the rule asks for.
    """
    wrong = []
    if not fires(library, rule, match):
        wrong.append("its true sample gives no alert")
    if fires(library, rule, nomatch):
        wrong.append("its near miss gives an alert")
    names = _names(library, rule)
    if names is not None and not any(str(event["event"]).lower() in names for event in nomatch):
        wrong.append("its near miss has no event of a name that it asks for")
    return wrong


def _names(library: Library, rule: Compiled) -> set[str] | None:
    if isinstance(rule, Rule):
        return None if rule.events is None else set(rule.events)
    found: set[str] = set()
    for place in library.references[rule.head.id]:
        some = _names(library, library.rules[place])
        if some is None:
            return None
        found |= some
    return found


def find_document(documents: Sequence[Document], rule: Compiled) -> Document:
    """The document that a rule was compiled from.

    Raises:
        RuleError: the file has changed since.
    """
    for document in documents:
        if document.line == rule.head.line:
            return document
    raise RuleError(f"{rule.head.file}:{rule.head.line}: the rule is not there any more", hint="run it again")


def count_matches(library: Library, rule: Compiled, events: Sequence[Sample]) -> int:
    """How many of some events match a rule."""
    engine = Engine(_alone(library, rule))
    try:
        with open_samples(events) as connection:
            return sum(alert.count for alert in engine.push(connection, "SELECT * FROM events"))
    finally:
        engine.close()
