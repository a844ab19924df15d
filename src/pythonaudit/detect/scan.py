"""All rules in one pass over events: which event matched which rules.

    for table in find_matches(connection, rules, "SELECT * FROM events", wanted=[("path", [0, 2])]): ...
    # of Arrow, the matching events alone: what COLUMNS says, v0, v1, … and `matched`, the numbers of the rules

Events are routed by name: an event is held against the rules that can match an event of that name, and against those
that can match any. So the cost grows with the rules that could match, not with the rules that there are.

Two questions are asked. Of every event, what follows from the rules of its route and costs little: their gates
(gate.py) together, one regular expression for each text, and of rules without a gate what is computed without Python.
Of the events of which that holds, candidates, the rules themselves, many events at a time.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

from pythonaudit.detect.rules import Gate, Rule
from pythonaudit.detect.sql import FALSE, SHARED, join, quote
from pythonaudit.query.at_hand import COLUMNS as VIEW
from pythonaudit.query.connection import Connection, open_second
from pythonaudit.query.results import Result

#: What is kept of an event that matched: when and where it was, and whose it is.
COLUMNS = ("time_ns", "process", "slot", "number", "host", "package", "version", "run", "event")
# Of the view `events`: without what rules make themselves (fields.py).
_MADE = ("stack", "fields", "full_path", "full_target")
_ASKED = (*(name for name in VIEW if name not in _MADE), "batch", "stack_id", "own_fields")
_CANDIDATES = 100_000  # at a time
_PATTERN_CHARACTERS = 20_000  # of one expression: RE2 has so much memory for each
_WORD = re.compile("[a-z_]+")
_NOTHING = "[]::INTEGER[]"

Value = tuple[str, Sequence[int]]
"""An expression over rows of the view `events`, a text, and the numbers of the rules of whose matches it is wanted."""

_Route = tuple[tuple[str, ...], tuple[int, ...]]
"""Names of events, in lower case, and the numbers of the rules that can match these, besides those that can any."""


def find_matches(
    connection: Connection, rules: Sequence[Rule], events: str, wanted: Sequence[Value] = ()
) -> Iterator[Any]:
    """The events that match one of the rules, in tables of Arrow.

    Args:
        connection: where the events are.
        rules: at least one; their numbers in `matched` are their places here.
        events: a SELECT of rows of the view `events`.
        wanted: further values of the matches of some rules, which become `v0`, `v1`, …; of the others these are null.

    Raises:
        PythonAuditError: they cannot be read, or need more memory than there may be.
    """
    routes, rest = _routes(rules, range(len(rules)))
    condition = _join_routes(routes, rest, lambda numbers: _may_hold(rules, numbers))
    query = f"SELECT {_columns(rules, wanted)}, lower(event) AS route FROM ({events}) AS events WHERE {condition}"
    with Result(connection, query) as result, closing(open_second(connection)) as second:
        for candidates in result.tables(_CANDIDATES):
            yield _ask(second, rules, candidates, wanted)


def _columns(rules: Sequence[Rule], wanted: Sequence[Value]) -> str:
    """The columns that may be asked for: those that are named somewhere."""
    words = set(_WORD.findall(" ".join([*COLUMNS, *(sql for sql, _ in wanted), *(rule.marked for rule in rules)])))
    return ", ".join(f'"{name}"' for name in _ASKED if name in words)


def _ask(connection: Connection, rules: Sequence[Rule], candidates: Any, wanted: Sequence[Value]) -> Any:
    """Those of the candidates that match."""
    names = set(candidates["route"].unique().to_pylist())
    asked = [at for at, rule in enumerate(rules) if rule.events is None or not names.isdisjoint(rule.events)]
    connection.register("candidates", candidates)
    try:
        with Result(connection, _build_query(rules, asked, wanted)) as result:
            return result.table()
    finally:
        connection.unregister("candidates")


def _build_query(rules: Sequence[Rule], asked: Sequence[int], wanted: Sequence[Value]) -> str:
    routes, rest = _routes(rules, asked)
    which = _case(routes, lambda numbers: _numbers(rules, numbers), _NOTHING)
    which = f"({which} || {_numbers(rules, rest)})" if rest else which
    values = [
        f"CASE WHEN list_has_any(matched, {list(numbers)}::INTEGER[]) THEN {sql} END AS v{place}"
        for place, (sql, numbers) in enumerate(wanted)
    ]
    return (
        # Else a rule would be asked twice: whether one holds, and which.
        f"WITH asked AS MATERIALIZED (SELECT *, {which} AS matched FROM candidates)"
        f" SELECT {', '.join([*COLUMNS, *values, 'matched'])} FROM asked WHERE len(matched) > 0"
    )


def _routes(rules: Sequence[Rule], asked: Iterable[int]) -> tuple[list[_Route], list[int]]:
    """The routes, and the rules that can match any event."""
    by_name: dict[str, list[int]] = defaultdict(list)
    rest = []
    for number in asked:
        names = rules[number].events
        if names is None:
            rest.append(number)
        for name in names or ():
            by_name[name].append(number)
    by_rules: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, numbers in by_name.items():
        by_rules[tuple(numbers)].append(name)
    routes = [(tuple(names), numbers) for numbers, names in by_rules.items()]
    # What most rules are about is most of what happens: it is compared with fewer names.
    return sorted(routes, key=lambda route: -len(route[1])), rest


def _join_routes(routes: Sequence[_Route], rest: Sequence[int], make: Callable[[Sequence[int]], str]) -> str:
    """That what `make` makes of rules holds, of those that can match an event."""
    terms = [_case(routes, make, FALSE)] if routes else []
    return join("OR", terms + ([make(rest)] if rest else []))


def _case(routes: Sequence[_Route], make: Callable[[Sequence[int]], str], nothing: str) -> str:
    """An expression for each route."""
    whens = [
        f"WHEN lower(event) IN ({', '.join(map(quote, names))}) THEN {make(numbers)}" for names, numbers in routes
    ]
    return f"CASE {' '.join(whens)} ELSE {nothing} END" if whens else nothing


def _may_hold(rules: Sequence[Rule], numbers: Sequence[int]) -> str:
    """What follows from each of some rules and costs little."""
    gates, others = _part(rules, numbers)
    implied = _share(join("OR", list(dict.fromkeys(rules[number].implied for number in others)))) if others else ""
    if not gates:
        return implied
    # OR would ask both of every event.
    return f"CASE WHEN {gates} THEN true ELSE {implied} END" if others else gates


def _numbers(rules: Sequence[Rule], numbers: Sequence[int]) -> str:
    """Which of some rules hold, as a list."""
    gates, others = _part(rules, numbers)
    found = _list(rules, numbers)
    return (
        f"CASE WHEN {gates} THEN {found} ELSE {_list(rules, others) if others else _NOTHING} END"
        if gates
        else found
    )


def _list(rules: Sequence[Rule], numbers: Sequence[int]) -> str:
    each = ", ".join(f"CASE WHEN {rules[number].marked} THEN {number} END" for number in numbers)
    return f"[one::INTEGER for one in {_share(f'[{each}]')} if one IS NOT NULL]"


def _part(rules: Sequence[Rule], numbers: Sequence[int]) -> tuple[str, list[int]]:
    """That one of the gates of some rules is open, if there are any; and those of the rules that have none."""
    gates = [gate for number in numbers if (gate := rules[number].gate) is not None]
    return join("OR", list(_gate_tests(gates))) if gates else "", [n for n in numbers if rules[n].gate is None]


def _gate_tests(gates: Iterable[Gate]) -> Iterator[str]:
    """For each text, a test or a few."""
    by_text: dict[str, dict[str, None]] = defaultdict(dict)
    for gate in gates:
        for text, pattern in gate:
            by_text[text][f"(?:{pattern})"] = None
    for text, patterns in by_text.items():
        some: list[str] = []
        for pattern in patterns:
            if some and len(pattern) + sum(map(len, some)) > _PATTERN_CHARACTERS:
                yield _found(text, some)
                some = []
            some.append(pattern)
        yield _found(text, some)


def _found(text: str, patterns: Sequence[str]) -> str:
    return f"coalesce(regexp_matches({text}, {quote('|'.join(patterns))}), false)"


def _share(marked: str) -> str:
    """An expression in which what several rules need is computed once: in a list of one that is gone through."""
    parts = marked.split(SHARED)  # the odd ones are shared
    counts = Counter(parts[1::2])
    several = [part for part, count in counts.items() if count > 1]
    names = {part: f"shared.v{place}" for place, part in enumerate(several)}
    found = "".join(names.get(part, part) if at % 2 else part for at, part in enumerate(parts))
    values = ", ".join(f"v{place} := {part}" for place, part in enumerate(several))
    return f"([{found} for shared in [struct_pack({values})]])[1]" if several else found
