"""A strict parser of RFC 5424: it takes what the grammar of section 6 allows, and nothing else."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

_HEAD = re.compile(
    rb"<(0|[1-9]\d{0,2})>([1-9]\d{0,2})"
    rb" (\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?Z|-)"
    rb" ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) "
)
_SD_NAME = rb"[!#-<>-\\^-~]{1,32}"
_PARAM = re.compile(rb" (" + _SD_NAME + rb')="((?:[^"\\\]]|\\["\\\]])*)"', re.DOTALL)
_ELEMENT = re.compile(rb"\[(" + _SD_NAME + rb")")
_BOM = b"\xef\xbb\xbf"


class Message(NamedTuple):
    """A message: its header, the parameters of its one element, and its text."""

    priority: int
    time: str
    host: str
    app: str
    process: str
    kind: str
    element: str
    params: list[tuple[str, str]]
    text: str

    def of(self, name: str) -> list[str]:
        """The values of a parameter, as they were before they became one line."""
        return [original(value) for found, value in self.params if found == name]


def original(text: str) -> str:
    """A text as it was before it became one line."""
    return json.loads(text) if text.startswith('"') else text


def parse(message: bytes) -> Message:
    """A message; fails where it is none."""
    head = _HEAD.match(message)
    assert head, message
    priority, version, time, host, app, process, kind = (part.decode("ascii") for part in head.groups())
    assert int(priority) <= 191 and version == "1"
    at = head.end()
    element = _ELEMENT.match(message, at)
    assert element, message[at:]
    at, params = element.end(), []
    while found := _PARAM.match(message, at):
        at = found.end()
        value = re.sub(rb'\\(["\\\]])', rb"\1", found[2])
        params.append((found[1].decode("ascii"), value.decode("utf-8", "strict")))
    assert message[at : at + 1] == b"]", message[at:]
    text = message[at + 1 :]
    assert text.startswith(b" " + _BOM), text
    return Message(
        int(priority),
        time,
        host,
        app,
        process,
        kind,
        element[1].decode(),
        params,
        text[4:].decode("utf-8", "strict"),
    )
