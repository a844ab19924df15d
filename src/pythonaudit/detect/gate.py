"""What the texts of an event must have in them for a rule to hold at all: gates. No input or output.

    find_gate(condition)          # (("lower(path)", "[.]pth$"),), or None: nothing is known

A gate is implied by its rule: where it is closed, the rule does not hold; where it is open, the rule may hold. So the
gates of many rules are asked of every event together, with one regular expression for each text, and the rules
themselves only where a gate is open.

Of AND, the part that says most is enough; of OR, every part is needed; from NOT, nothing follows. Of a text with
wildcards, the longest piece is looked for. What most programs do all day is no gate: it would be open all day.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.types import SigmaCIDRExpression, SigmaRegularExpression, SigmaString

from pythonaudit.detect import fields
from pythonaudit.detect.backend import expression_of
from pythonaudit.detect.fields import find_field
from pythonaudit.detect.rules import Gate
from pythonaudit.detect.sql import network_pattern

# Fields that say what was done. Who did it, and where, is the same for many events.
_ONE = ("event", "template", "path", "target", "full_path", "full_target", "address", "command", "module", "url")
# Of which field a value of these is the value.
_SAME_AS = {
    "file.opened": ("full_path",),
    "file.removed": ("full_path",),
    "file.written": ("full_path", "full_target"),
}
_LEAST = 4  # what is looked for has as many characters, or stands at an end of the text
_EXPRESSION = 8  # what one that a rule has itself is worth, in characters
# Where programs are, and what they are made of.
_EVERYWHERE = re.compile(
    r"(?:[/.]?(?:(?:site|dist)-packages|lib(?:64|exec)?|usr|bin|home|root|tmp|var|opt|etc|srv|proc|dev|run|json"
    r"|python[0-9.]*|pyc?|so|https?|www|com)[/.:]*)+"
)
# What is not ASCII is not looked for: it is the database that lowers it.
_PLAIN = re.compile(r"[ -~]+")
_PLAIN_IN_JSON = re.compile(r"[ !#-\[\]-~]+")

_Found = tuple[int, Gate]
"""How much a gate says, and the gate."""


def find_gate(conditions: Iterable[Any]) -> Gate | None:
    """The gate of a rule; None: nothing that can be asked cheaply follows from it.

    Args:
        conditions: of pySigma; one of them must hold.
    """
    found = _either(conditions)
    return found[1] if found else None


def _find(condition: Any) -> _Found | None:
    if isinstance(condition, ConditionAND):
        known = [some for some in map(_find, condition.args) if some is not None]
        return max(known, key=lambda some: some[0], default=None)
    if isinstance(condition, ConditionOR):
        return _either(condition.args)
    if isinstance(condition, ConditionFieldEqualsValueExpression):
        return _of_field(condition.field, condition.value)
    if isinstance(condition, ConditionValueExpression) and isinstance(condition.value, SigmaString):
        texts = [f"lower({column})" for column in fields.SEARCHED]
        return _of_text(texts, condition.value, "", "", _PLAIN_IN_JSON)
    return None


def _either(conditions: Iterable[Any]) -> _Found | None:
    found = [_find(condition) for condition in conditions]
    known = [some for some in found if some is not None]
    if not known or len(known) < len(found):
        return None
    atoms = dict.fromkeys(atom for _, gate in known for atom in gate)
    return min(worth for worth, _ in known), tuple(atoms)


def _of_field(name: str, value: Any) -> _Found | None:
    texts = [_sql(field) for field in _SAME_AS.get(name, (name,) if name in _ONE else ())]
    if not texts:
        return None
    if isinstance(value, SigmaString):
        if name == "event" and all(isinstance(part, str) for part in value.s):
            return None  # events are routed by name
        return _of_text([f"lower({text})" for text in texts], value, "^", "$")
    if isinstance(value, SigmaRegularExpression):
        return _EXPRESSION, tuple((text, expression_of(value)) for text in texts)
    if isinstance(value, SigmaCIDRExpression):
        pattern = network_pattern(value.network)
        return _EXPRESSION, tuple((text, f"{pattern}|:" if pattern else ":") for text in texts)
    return None


def _sql(name: str) -> str:
    field = find_field(name)
    assert field is not None
    return field.sql


def _of_text(
    texts: Sequence[str], value: SigmaString, begin: str, end: str, plain: re.Pattern[str] = _PLAIN
) -> _Found | None:
    """Texts in which a value is looked for by its longest piece; None: that says too little.

    Args:
        texts: lowered; the value is one of these.
        value: with wildcards.
        begin, end: where a text begins and ends, as RE2 has it; empty: the value may stand anywhere.
        plain: pieces that stand in the texts as they stand in the value.
    """
    last = len(value.s) - 1
    pieces = []
    for at, part in enumerate(value.s):
        for piece in plain.finditer(part) if isinstance(part, str) else ():
            is_first, is_last = at == 0 and piece.start() == 0, at == last and piece.end() == len(str(part))
            ends = (begin if is_first else "", end if is_last else "")
            worth = 0 if _EVERYWHERE.fullmatch(piece[0].lower()) else len(piece[0]) + sum(map(bool, ends))
            pieces.append((worth, f"{ends[0]}{_escape(piece[0].lower())}{ends[1]}"))
    worth, pattern = max(pieces, default=(0, ""))
    return (worth, tuple((text, pattern) for text in texts)) if worth >= _LEAST else None


def _escape(text: str) -> str:
    """A text as an expression of RE2 that is found where the text is."""
    return re.sub(r"[^a-z0-9_/ -]", r"\\\g<0>", text)
