"""Rules, compiled: what the engine needs of them, and nothing of how they were written. Frozen nouns.

A rule holds of single events; a correlation of several matches of rules, or of other correlations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from pythonaudit.detect.sql import SHARED

#: From the least to the most.
LEVELS = ("informational", "low", "medium", "high", "critical")
TECHNIQUE = re.compile(r"attack\.(t[0-9]{4}(?:\.[0-9]{3})?)")
SECOND_NS = 1_000_000_000

Gate = tuple[tuple[str, str], ...]
"""Texts of an event, as SQL, and with each a regular expression of RE2: where none of them is found, a rule does not hold."""

Tree = Sequence[Any]
"""An extended condition: ["rule", n], ["not", tree], ["and", tree, …] or ["or", tree, …]."""


@dataclass(frozen=True, slots=True)
class Head:
    """What every rule says of itself.

    Attributes:
        id: its UUID; of a rule without: its name, or its file and title.
        name: by which correlations refer to it; may be empty.
        title, status: for people.
        level: one of LEVELS.
        tags: as written.
        file, line: where it begins.
    """

    id: str
    name: str
    title: str
    status: str
    level: str
    tags: tuple[str, ...]
    file: str
    line: int

    @property
    def techniques(self) -> list[str]:
        """Of ATT&CK, such as T1546.018."""
        return [match[1].upper() for tag in self.tags if (match := TECHNIQUE.fullmatch(tag.lower()))]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule about single events.

    Attributes:
        head: what it says of itself.
        marked: true or false of a row of the view `events`, with marks around what rules have in common (sql.py).
        events: names, in lower case, of which an event must have one; None: any event can match.
        gate: what follows from it for the texts of an event (gate.py); None: nothing does.
        implied: an expression that follows from it and is computed without Python, marked as well.
    """

    head: Head
    marked: str
    events: tuple[str, ...] | None
    gate: Gate | None
    implied: str

    @property
    def sql(self) -> str:
        """The expression itself."""
        return self.marked.replace(SHARED, "")


@dataclass(frozen=True, slots=True)
class Correlation:
    """A rule about several matches.

    Attributes:
        head: what it says of itself.
        type: event_count, value_count, value_sum, value_avg, value_percentile, value_median, temporal or
            temporal_ordered.
        rules: what it refers to: ids or names, in order.
        group_by: for each of these, the fields whose values must be equal (an alias has one of each rule).
        span_ns: no more than this lies between the first and the last of the matches.
        operator, count: of the condition: `>=`, 10.
        values: for each of the rules, the fields that are counted, added, …; empty: none are.
        percentile: of value_percentile.
        tree: the extended condition of a temporal correlation, or None.
        generate: whether the rules it refers to give alerts of their own.
    """

    head: Head
    type: str
    rules: tuple[str, ...]
    group_by: tuple[tuple[str, ...], ...]
    span_ns: int
    operator: str
    count: float
    values: tuple[tuple[str, ...], ...]
    percentile: int | None = None
    tree: Tree | None = None
    generate: bool = False


Compiled = Rule | Correlation


def to_json(rule: Compiled) -> dict[str, Any]:
    """A rule as JSON can have it."""
    return {"kind": type(rule).__name__, **asdict(rule)}


def from_json(value: Mapping[str, Any]) -> Compiled:
    """The same rule again.

    Raises:
        KeyError, TypeError: it is none.
    """
    kind = {"Rule": Rule, "Correlation": Correlation}[value["kind"]]
    said = {field.name: _frozen(value[field.name]) for field in fields(kind)}
    said["head"] = Head(**{field.name: _frozen(value["head"][field.name]) for field in fields(Head)})
    rule: Compiled = kind(**said)
    return rule


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
