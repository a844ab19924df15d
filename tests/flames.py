"""Reads back what `pythonaudit stacks` writes, by the rules of those who read it; for tests only.

Each reader gives how many events each stack raised, outermost frame first, and fails where a rule is broken.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

from pythonaudit.cli.render import neutralise

#: As flamegraph.pl has it: what is left may end in a further number, which is taken for another profile's.
FOLDED_LINE = re.compile(r"^(.*)\s+?(\d+(?:\.\d*)?)$")
UNITS = {"bytes", "microseconds", "milliseconds", "nanoseconds", "none", "seconds"}
#: Elements of HTML that have no end.
VOID = {"meta", "input", "link", "img", "br", "hr", "base"}
LOADS = {"src", "href", "srcset", "action", "formaction", "data", "poster", "background", "style", "ping"}

Stacks = Counter[tuple[str, ...]]


def stack_of(frames: Sequence[tuple[str, int, str]], depth: int) -> tuple[str, ...]:
    """Frames as Python shows them, innermost first, as the stack that must come out."""
    labels = [
        neutralise(text.encode("utf-8", "backslashreplace").decode())
        for text in (f"{function} ({file})" if file else function for file, _, function in frames)
    ]
    more = ["[truncated]"] if len(labels) > depth > 0 else []
    return (*more, *reversed(labels[:depth])) or ("[no stack]",)


def read_folded(text: str) -> Stacks:
    found: Stacks = Counter()
    assert text.endswith("\n") or not text
    for line in text.splitlines():
        parts = FOLDED_LINE.match(line)
        assert parts and not FOLDED_LINE.match(parts[1]), line
        frames = tuple(parts[1].split(";"))
        assert all(frames), line
        found[frames] += int(parts[2])
    return found


def unescape_folded(stacks: Stacks) -> Stacks:
    found: Stacks = Counter()
    for frames, count in stacks.items():
        found[tuple(frame.replace("\\x3b", ";").replace("\\x20", " ") for frame in frames)] += count
    return found


def read_speedscope(text: str) -> Stacks:
    """By the rules of https://www.speedscope.app/file-format-schema.json, for a profile of samples."""
    file = json.loads(text)
    assert file["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert isinstance(file["name"], str) and isinstance(file["exporter"], str)
    frames = file["shared"]["frames"]
    for frame in frames:
        assert set(frame) <= {"name", "file", "line", "col"}
        assert isinstance(frame["name"], str) and isinstance(frame.get("file", ""), str)
    assert file["activeProfileIndex"] in range(len(file["profiles"]))
    (profile,) = file["profiles"]
    assert profile["type"] == "sampled" and profile["unit"] in UNITS and isinstance(profile["name"], str)
    assert len(profile["samples"]) == len(profile["weights"])
    assert profile["startValue"] + sum(profile["weights"]) == profile["endValue"]
    found: Stacks = Counter()
    for sample, weight in zip(profile["samples"], profile["weights"], strict=True):
        assert sample and weight > 0
        assert all(type(number) is int and 0 <= number < len(frames) for number in sample)
        found[tuple(_label(frames[n]["name"], frames[n].get("file")) for n in sample)] += weight
    return found


class Page(HTMLParser):
    """A page that is well formed: every element ends, in the order in which they began.

    Attributes:
        texts: the text of elements, by tag, in order.
        attributes: of all elements, in order.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {}
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]][-1] += data


def read_page(text: str) -> Stacks:
    page = Page(text)
    check_self_contained(page)
    return read_page_data(json.loads(page.texts["script"][0]))


def read_page_data(data: Any) -> Stacks:
    """The stacks of `nodes`: three numbers a node, a node before its callees."""
    found: Stacks = Counter()
    numbers = iter(data["nodes"])
    path: list[str] = []
    left: list[int] = []  # callees that are still to come, of each that is open
    for frame, callees, own in zip(numbers, numbers, numbers, strict=True):
        if frame >= 0:
            while not left[-1]:
                left.pop()
                path.pop()
            left[-1] -= 1
            name, file, kind = data["frames"][frame]
            assert kind in {"code", "library", "event", "note"}
            path.append(_label(name, file))
        left.append(callees)
        if own:
            found[tuple(path)] += own
    assert not any(left)
    return found


def check_self_contained(page: Page) -> None:
    """It names nothing to be loaded, and its policy lets it load and run nothing but what is in it."""
    for tag, attributes in page.attributes:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        assert not LOADS & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    (style,), (_data, script) = page.texts["style"], page.texts["script"]
    assert not re.search(r"url\(|@import", style)
    assert not re.search(
        r"\b(?:fetch|import|eval|innerHTML|insertAdjacentHTML|document\.write|XMLHttpRequest)\b", script
    )
    assert "//" not in re.sub(r"(?m)^\s*//.*$|; //.*$", "", script) + style
    (policy,) = [
        a["content"] or "" for _, a in page.attributes if a.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["form-action"] == "'none'"
    for name, text in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules.pop(name) == f"'sha256-{digest}'"
    assert set(rules.values()) == {"'none'"}


def _label(name: str, file: str | None) -> str:
    return f"{name} ({file})" if file else name
