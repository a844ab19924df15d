"""Sigma, straightforward: what a rule means, in plain Python, one event at a time. Slow, and nothing of ours in it.

The text of the specification is its only source, and docs/guide/rules.md where that leaves the choice to whoever
implements it. It reads rules as dictionaries, so that it shares no parser with the product either.
"""

from __future__ import annotations

import base64
import fnmatch
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Event = Mapping[str, Any]

_NUMBER = re.compile(r"[-+]?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?")
_COMPARED = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}


def values_of(event: Event, field: str) -> list[Any]:
    """The values of a field, without nulls."""
    place: Any = event
    head, dot, rest = field.partition(".")
    if head == "stack":
        frames = event.get("stack") or []
        found = [frame.get(rest) if rest else _frame(frame) for frame in frames]
        return [value for value in found if value is not None]
    if head in ("fields", "context") and dot:
        place = event.get(head) or {}
        if rest in place:
            place = place[rest]
        else:
            for part in rest.split("."):
                place = place.get(part) if isinstance(place, dict) else None
    elif head == "args" and dot:
        args = event.get("args") or []
        place = args[int(rest)] if int(rest) < len(args) else None
    elif head == "package" and dot:
        place = (event.get("package") or {}).get(rest)
    else:
        place = event.get(field)
    items = place if isinstance(place, list) else [place]
    return [item for item in items if item is not None]


def _frame(frame: Mapping[str, Any]) -> str | None:
    if "file" not in frame:
        return None
    return f"{frame['file']}:{frame.get('line', '')} {frame.get('function', '')}"


def text_of(value: Any) -> str:
    """A value as text: what is no text as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def parse_pattern(text: str) -> list[str]:
    """Sigma's wildcards and escapes: a list of single characters, `*` and `?` as two-character tokens."""
    found, at = [], 0
    while at < len(text):
        char = text[at]
        if char == "\\" and text[at + 1 : at + 2] in ("*", "?", "\\"):
            found.append(text[at + 1])
            at += 2
            continue
        found.append("<*>" if char == "*" else "<?>" if char == "?" else char)
        at += 1
    return found


def like(text: str, pattern: Sequence[str], is_cased: bool) -> bool:
    """Whether a whole text matches a pattern, by the book: positions that can be reached."""
    if not is_cased:
        text = text.lower()
        pattern = [part if len(part) > 1 else part.lower() for part in pattern]
    reached = {0}
    for part in pattern:
        if part == "<*>":
            reached = set(range(min(reached), len(text) + 1)) if reached else set()
        elif part == "<?>":
            reached = {at + 1 for at in reached if at < len(text)}
        else:
            reached = {at + 1 for at in reached if text[at : at + 1] == part}
    return len(text) in reached


def matches_item(event: Event, key: str, wanted: Any) -> bool:
    """One line of a detection: `field|modifier|modifier: value or values`."""
    field, *modifiers = key.split("|")
    wanted_values = wanted if isinstance(wanted, list) else [wanted]
    each = [_matches_value(event, field, modifiers, value) for value in wanted_values]
    found = all(each) if "all" in modifiers else any(each)
    return not found if "neq" in modifiers else found


def _matches_value(event: Event, field: str, modifiers: Sequence[str], wanted: Any) -> bool:
    if not field:
        return _matches_keyword(event, modifiers, wanted)
    have = values_of(event, field)
    if "exists" in modifiers:
        return bool(have) == wanted
    if wanted is None:
        return not have
    if "fieldref" in modifiers:
        others = [text_of(value).lower() for value in values_of(event, wanted)]
        return any(_refers(text_of(value).lower(), other, modifiers) for value in have for other in others)
    return any(_matches_one(text_of(value), modifiers, wanted) for value in have)


def _refers(text: str, other: str, modifiers: Sequence[str]) -> bool:
    if "contains" in modifiers:
        return other in text
    if "startswith" in modifiers:
        return text.startswith(other)
    return text.endswith(other) if "endswith" in modifiers else text == other


def _matches_one(text: str, modifiers: Sequence[str], wanted: Any) -> bool:
    compared = [name for name in modifiers if name in _COMPARED]
    if isinstance(wanted, bool):
        return text.lower() == str(wanted).lower()
    if isinstance(wanted, int | float):
        if not _NUMBER.fullmatch(text):
            return False
        return _COMPARED[compared[0]](float(text), wanted) if compared else float(text) == wanted
    if "cidr" in modifiers:
        try:
            address: Any = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        return (getattr(address, "ipv4_mapped", None) or address) in ipaddress.ip_network(wanted)
    if "re" in modifiers:
        return _search(text, modifiers, wanted)
    is_cased = "cased" in modifiers
    return any(like(text, pattern, is_cased) for pattern in _patterns(wanted, modifiers))


def _search(text: str, modifiers: Sequence[str], wanted: str) -> bool:
    flags = {"i": re.I, "m": re.M, "s": re.S}
    return re.search(wanted, text, sum(flags.get(name, 0) for name in modifiers) | re.A) is not None


def _patterns(wanted: str, modifiers: Sequence[str]) -> list[list[str]]:
    """What a value stands for: patterns, one of which must match."""
    found = [parse_pattern(wanted)]
    for name in modifiers:
        if name == "wide":
            found = [[piece for char in one for piece in (char, "\0")] for one in found]
        elif name == "base64":
            found = [list(base64.b64encode("".join(one).encode()).decode()) for one in found]
        elif name == "base64offset":
            found = [list(piece) for one in found for piece in _offsets("".join(one).encode())]
        elif name == "windash":
            found = [list(form) for one in found for form in _dashes("".join(one))]
        elif name == "contains":
            found = [["<*>", *one, "<*>"] for one in found]
        elif name == "startswith":
            found = [[*one, "<*>"] for one in found]
        elif name == "endswith":
            found = [["<*>", *one] for one in found]
    return found


def _offsets(data: bytes) -> list[str]:
    """What of the base64 of data is the same, whatever stands around it."""
    found = []
    for before in range(3):
        text = base64.b64encode(b"\0" * before + data).decode()
        start = -(-before * 8 // 6)
        end = (before + len(data)) * 8 // 6
        found.append(text[start:end])
    return found


def _dashes(text: str) -> list[str]:
    """All ways of writing options: each `-` or `/` between a non-word and a word character."""
    found = [""]
    for at, char in enumerate(text):
        before, after = text[at - 1 : at], text[at + 1 : at + 2]
        is_option = char in "-/" and not re.match(r"\w", before) and re.match(r"\w", after)
        found = [one + form for one in found for form in ("-/\u2013\u2014\u2015" if is_option else char)]
    return found


def _matches_keyword(event: Event, modifiers: Sequence[str], wanted: Any) -> bool:
    args = event.get("args")
    texts = [(event["event"], False), *([(text_of(args), True)] if args else [])]
    if "re" in modifiers:
        return any(_search(text, modifiers, wanted) for text, _ in texts)
    pattern = parse_pattern(str(wanted))
    for text, is_json in texts:
        some = [
            piece
            for part in pattern
            for piece in (json.dumps(part, ensure_ascii=False)[1:-1] if is_json and len(part) == 1 else [part])
        ]
        if like(text, ["<*>", *some, "<*>"], "cased" in modifiers):
            return True
    return False


def matches_selection(event: Event, selection: Any) -> bool:
    """One named part of a detection."""
    if isinstance(selection, dict):
        return all(matches_item(event, key, wanted) for key, wanted in selection.items())
    if isinstance(selection, list) and any(isinstance(item, dict) for item in selection):
        return any(matches_selection(event, item) for item in selection)
    return matches_item(event, "", selection)


def matches(event: Event, detection: Mapping[str, Any]) -> bool:
    """Whether a rule's detection matches an event."""
    names = [name for name in detection if name != "condition"]
    holds = {name: matches_selection(event, detection[name]) for name in names}

    def of(match: re.Match[str]) -> str:
        glob = "*" if match[2] == "them" else match[2]
        some = [holds[name] for name in names if fnmatch.fnmatchcase(name, glob)]
        return str(all(some) if match[1] == "all" else any(some))

    text = re.sub(r"\b(1|any|all) of ([\w*]+)", of, detection["condition"])
    text = re.sub(r"\b(?!and\b|or\b|not\b|True\b|False\b)[A-Za-z_]\w*", lambda match: str(holds[match[0]]), text)
    return bool(eval(text, {"__builtins__": {}}))
