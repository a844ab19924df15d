"""Contexts of events: fields of the application and ids of a trace, as one JSON object, each made once.

A context's JSON comes from whoever wrote the journal: it is parsed, and written anew.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from pythonaudit.journal import layout
from pythonaudit.journal.chunks import Damage
from pythonaudit.journal.segment import Segment

_KEPT = 16384


class Contexts:
    """The contexts of a segment.

    Args:
        segment: the segment.
        report: is told of contexts that make no sense.
    """

    def __init__(self, segment: Segment, report: Callable[[Damage], None]) -> None:
        self._segment, self._report = segment, report
        self._texts: dict[int, bytes] = {}

    def text(self, number: int) -> bytes:
        """The one at this position of `segment.contexts` as a JSON object; empty: none, or nothing sound."""
        found = self._texts.get(number)
        if found is None:
            if len(self._texts) >= _KEPT:
                self._texts.clear()
            found = self._texts[number] = self._build(*self._segment.contexts[number])
        return found

    def member(self, number: int) -> bytes:
        """The same as a member of an event's JSON object."""
        text = self.text(number)
        return b',"context":' + text if text else b""

    def fields(self, number: int) -> dict[str, Any]:
        """The same, decoded."""
        text = self.text(number)
        found: dict[str, Any] = orjson.loads(text) if text else {}
        return found

    def _build(self, string: int, trace: bytes, span: bytes) -> bytes:
        written = self._segment.text(string).encode() if string else b"{}"
        fields = _parse(written)
        if fields is None:
            offset = int(self._segment.string_start[string])
            self._report(Damage(None, offset, len(written), "a context that is no JSON object"))
            fields = {}
        if trace:
            fields.setdefault("trace_id", trace.hex())
            fields.setdefault("span_id", span.hex())
        return _write(fields) if fields else b""


def _parse(text: bytes) -> dict[str, Any] | None:
    """A context, decoded; None if it is none."""
    try:
        found = orjson.loads(text) if len(text) <= layout.CONTEXT_MAX_BYTES else None
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) and all(map(_is_value, found.values())) else None


def _write(fields: dict[str, Any]) -> bytes:
    """A context as it is sealed: not as one version of a library or another writes numbers."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _is_value(value: Any) -> bool:
    """A scalar, or a tagged form: an object of one scalar."""
    if isinstance(value, dict):
        return len(value) == 1 and not any(isinstance(inner, dict | list) for inner in value.values())
    return not isinstance(value, list)


class Condition:
    """KEY=GLOB: a field of the context whose text, or JSON, is like this."""

    def __init__(self, key: str, glob: str) -> None:
        self._key = key
        self._pattern = re.compile(fnmatch.translate(glob))

    def holds(self, fields: Mapping[str, Any]) -> bool:
        """Whether it holds of these fields."""
        if self._key not in fields:
            return False
        value = fields[self._key]
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        return self._pattern.match(text) is not None
