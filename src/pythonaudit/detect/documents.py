"""Rule files: bytes to the documents in them, each with the lines on which its keys stand. Home of PyYAML.

    for document in parse_documents(text, "rule.yml"):
        document.content["title"], document.line_of("detection", "selection", "path")

A rule file comes from anywhere, so what a rule never needs is refused before anything is built of it: references
from one place to another (a few of them make a billion nodes), deep nesting, and size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from pythonaudit.errors import RuleError

FILE_BYTES = 1 << 20
_DEPTH = 24
_NODES = 100_000
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OPENING = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSING = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file.

    Attributes:
        file: name of the file, for complaints.
        line: on which it begins, from 1.
        content: its keys and values.
        lines: of each key, by the keys (and places in lists) that lead to it.
    """

    file: str
    line: int
    content: dict[str, Any]
    lines: dict[tuple[str, ...], int]

    def line_of(self, *keys: str) -> int:
        """The line of a key, or of the last one on the way to it that is there."""
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.lines:
                return self.lines[keys[:end]]
        return self.line

    def refuse(self, reason: str, *keys: str, hint: str | None = None) -> RuleError:
        """The complaint about what stands at a key."""
        return RuleError(f"{self.file}:{self.line_of(*keys)}: {reason}", hint=hint)


def parse_documents(data: bytes, file: str) -> list[Document]:
    """The documents of a file; empty ones are left out.

    Args:
        data: what is in it.
        file: its name, for complaints.

    Raises:
        RuleError: it is no YAML, no mapping, too large, or has what no rule needs.
    """
    if len(data) > FILE_BYTES:
        raise RuleError(f"{file}: {len(data):,} bytes; a rule file has at most {FILE_BYTES:,}")
    try:
        text = data.decode("utf-8")
        _check(text, file)
        return list(_load(text, file))
    except UnicodeDecodeError as error:
        raise RuleError(f"{file}: byte {error.start} is no UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise RuleError(f"{file}:{mark.line + 1 if mark else 1}: {reason}") from None
    except ValueError as error:  # a number of thousands of digits, a date that there is not
        raise RuleError(f"{file}: {error}") from None


def _check(text: str, file: str) -> None:
    """Looks at what is to come without building it."""
    depth = 0
    for nodes, event in enumerate(yaml.parse(text, Loader=_Loader)):
        line = event.start_mark.line + 1 if event.start_mark else 1
        depth += isinstance(event, _OPENING)
        depth -= isinstance(event, _CLOSING)
        if isinstance(event, yaml.AliasEvent):
            raise RuleError(f"{file}:{line}: '*{event.anchor}' refers to another place; write it out")
        if depth > _DEPTH:
            raise RuleError(f"{file}:{line}: nested more than {_DEPTH} levels deep")
        if nodes > _NODES:
            raise RuleError(f"{file}:{line}: more than {_NODES:,} values")


def _load(text: str, file: str) -> Iterator[Document]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            line = node.start_mark.line + 1
            lines: dict[tuple[str, ...], int] = {}
            _find_lines(node, (), lines, file)
            content = loader.construct_document(node)
            if content is None:
                continue
            if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
                raise RuleError(f"{file}:{line}: a rule is a mapping of keys to values")
            yield Document(file, line, content, lines)
    finally:
        loader.dispose()


def _find_lines(node: yaml.Node, keys: tuple[str, ...], lines: dict[tuple[str, ...], int], file: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for at, item in enumerate(node.value):
            place = (*keys, str(at))
            lines[place] = item.start_mark.line + 1
            _find_lines(item, place, lines, file)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = str(key.value)
        if name in seen:
            raise RuleError(f"{file}:{key.start_mark.line + 1}: the key {name!r} stands here twice")
        seen.add(name)
        lines.setdefault((*keys, name), key.start_mark.line + 1)
        _find_lines(value, (*keys, name), lines, file)
