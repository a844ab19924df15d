"""What one recording has that another has not: pure, rows in (behaviour.py), differences out.

    found = compare(summarise(rows_a), summarise(rows_b))
    found.added      # what B did and A did not
    found.gone       # the reverse
    found.versions   # packages that are in both, in other versions

An act is told apart by its kind, its package and what it was done to, never by a version, a line of code or how
often it was: two runs that did the same things are the same, whatever the number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pythonaudit.query.behaviour import KINDS, Place, Row

_KEPT = 64
_WORDS = re.compile(r"[-_.]+")
_KIND_RANK = {kind: rank for rank, kind in enumerate(KINDS)}


class Act(NamedTuple):
    """What tells acts apart: package (names that mean the same are one), kind, what."""

    package: str
    kind: str
    what: str


@dataclass(slots=True)
class Seen:
    """How an act was seen on one side.

    Attributes:
        package: as its metadata spell it.
        count: how often.
        versions: of the package.
        places: lines of code, and how often each.
        literal: `what` where a number that is its process's id is taken for another one, if that makes a difference.
        example: what it was done to, not generalised; `event` is the id of its event.
    """

    package: str
    example: str
    event: str
    count: int = 0
    versions: set[str] = field(default_factory=set)
    places: dict[Place, int] = field(default_factory=dict)
    literal: set[str] = field(default_factory=set)

    @property
    def place(self) -> Place | None:
        """The line of code that did it most often; of several the first in order."""
        return min(self.places, key=lambda place: (-self.places[place], place)) if self.places else None


Summary = Mapping[Act, Seen]


@dataclass(frozen=True, slots=True)
class Difference:
    """An act of one side only."""

    act: Act
    seen: Seen


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A package of both sides whose versions are not the same."""

    package: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two sides do not share; ordered by package, kind, what."""

    added: tuple[Difference, ...]
    gone: tuple[Difference, ...]
    versions: tuple[NewVersion, ...]


def summarise(rows: Iterable[Row]) -> Summary:
    """The acts of one side. Memory goes by how many are told apart, not by events."""
    acts: dict[Act, Seen] = {}
    for row in rows:
        act = Act(_WORDS.sub("-", row.package).lower() if row.package != "." else ".", row.kind, row.what)
        seen = acts.get(act)
        if seen is None:
            seen = acts[act] = Seen(row.package, row.example, row.event)
        seen.count += row.count
        if row.version is not None:
            seen.versions.add(row.version)
        if row.literal != row.what and len(seen.literal) < _KEPT:
            seen.literal.add(row.literal)
        if row.place is not None and (row.place in seen.places or len(seen.places) < _KEPT):
            seen.places[row.place] = seen.places.get(row.place, 0) + row.count
    return acts


def compare(before: Summary, after: Summary) -> Comparison:
    """The differences of two sides."""
    old, new = _versions(before), _versions(after)
    changed = (
        NewVersion(new[package][0], tuple(sorted(old[package][1])), tuple(sorted(new[package][1])))
        for package in sorted(old.keys() & new.keys())
        if old[package][1] != new[package][1]
    )
    return Comparison(_only(after, before), _only(before, after), tuple(changed))


def _only(these: Summary, others: Summary) -> tuple[Difference, ...]:
    # A number that happens to be the id of a process on one side is that number on the other.
    literal = {act._replace(what=what) for act, seen in others.items() for what in seen.literal}

    def is_missing(act: Act, seen: Seen) -> bool:
        return not (
            act in others or act in literal or any(act._replace(what=what) in others for what in seen.literal)
        )

    missing = [Difference(act, seen) for act, seen in these.items() if is_missing(act, seen)]
    return tuple(sorted(missing, key=_order))


def _order(difference: Difference) -> tuple[str, int, str]:
    act = difference.act
    return act.package, _KIND_RANK[act.kind], act.what


def _versions(side: Summary) -> dict[str, tuple[str, set[str]]]:
    found: dict[str, tuple[str, set[str]]] = {}
    for act, seen in side.items():
        if seen.versions:
            found.setdefault(act.package, (seen.package, set()))[1].update(seen.versions)
    return found
