"""All rules in one pass over events: which event matched which rules.

    query = build_query(rules, "SELECT * FROM events", wanted=("json_extract_string(fields, '$.\\"user\\"')",))
    # rows of the matching events alone: what COLUMNS says, v0, v1, … and `matched`, the numbers of the rules

Events are routed by name: an event is held against the rules that can match an event of that name, and against those
that can match any. So the cost grows with the rules that could match, not with the rules that there are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from pythonaudit.detect.rules import Rule
from pythonaudit.detect.sql import FALSE, SHARED, join, quote

#: What is kept of an event that matched: when and where it was, and whose it is.
COLUMNS = ("time_ns", "process", "slot", "number", "host", "package", "version", "run", "event")


def build_query(rules: Sequence[Rule], events: str, wanted: Sequence[str] = ()) -> str:
    """A SELECT of the events that match one of the rules.

    Args:
        rules: their numbers in `matched` are their places here.
        events: a SELECT of rows of the view `events`.
        wanted: further expressions over these rows, texts, which become `v0`, `v1`, ….
    """
    branches = _branches(rules)
    rest = [number for number, rule in enumerate(rules) if rule.events is None]
    hit = _case(branches, rest, lambda numbers: _any_of(rules, numbers), FALSE)
    which = _case(branches, rest, lambda numbers: _numbers(rules, numbers), "[]::INTEGER[]")
    values = [f"{sql} AS v{place}" for place, sql in enumerate(wanted)]
    columns = ", ".join([*COLUMNS, *values, f"{which} AS matched"])
    known = "" if rest else f"lower(event) IN ({_names(name for names, _ in branches for name in names)}) AND "
    return f"SELECT {columns} FROM ({events}) AS events WHERE {known}{hit}"


def _branches(rules: Sequence[Rule]) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
    """Names of events that the same rules can match, and these rules."""
    by_name: dict[str, list[int]] = defaultdict(list)
    for number, rule in enumerate(rules):
        for name in rule.events or ():
            by_name[name].append(number)
    by_rules: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, numbers in by_name.items():
        by_rules[tuple(numbers)].append(name)
    return [(tuple(names), numbers) for numbers, names in by_rules.items()]


def _case(
    branches: Sequence[tuple[tuple[str, ...], tuple[int, ...]]],
    rest: Sequence[int],
    make: Callable[[Sequence[int]], str],
    nothing: str,
) -> str:
    """An expression for each branch: the rules that can match any event are in all of them."""
    other = make(rest) if rest else nothing
    whens = [
        f"WHEN lower(event) IN ({_names(names)}) THEN {make([*rest, *numbers])}" for names, numbers in branches
    ]
    return f"CASE {' '.join(whens)} ELSE {other} END" if whens else other


def _any_of(rules: Sequence[Rule], numbers: Sequence[int]) -> str:
    """That one of some rules holds."""
    return _share(join("OR", [rules[number].marked for number in numbers]))


def _numbers(rules: Sequence[Rule], numbers: Sequence[int]) -> str:
    """Which of some rules hold, as a list."""
    each = ", ".join(f"CASE WHEN {rules[number].marked} THEN {number} END" for number in numbers)
    return f"[one::INTEGER for one in {_share(f'[{each}]')} if one IS NOT NULL]"


def _share(marked: str) -> str:
    """An expression in which what several rules need is computed once: in a list of one that is gone through."""
    parts = marked.split(SHARED)  # the odd ones are shared
    counts = Counter(parts[1::2])
    several = [part for part, count in counts.items() if count > 1]
    names = {part: f"shared.v{place}" for place, part in enumerate(several)}
    found = "".join(names.get(part, part) if at % 2 else part for at, part in enumerate(parts))
    values = ", ".join(f"v{place} := {part}" for place, part in enumerate(several))
    return f"([{found} for shared in [struct_pack({values})]])[1]" if several else found


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(quote, names))
