"""Events as bytes, in the forms that others read: one module a form, pure, one event at a time.

    form = find_format("ecs")
    data = form.header + b"".join(map(form.line, events))

safe     what is said safely: nothing that does not print, no formula of a spreadsheet
seen     what several forms say of an event: address, path as seen from the directory, names of files
jsonl    the event as it is; csv: its keys as columns, as of `log --format csv`
ecs      Elastic Common Schema; ocsf, ocsf_classes: Open Cybersecurity Schema Framework; cef: ArcSight
parquet  a whole file, for which `find_format` has no lines

Whatever an event says, its line is one line, ends with a line end, is valid UTF-8 and has the event's id. What was
masked when it was recorded stays masked: nothing here knows what it was.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event

#: One line an event.
LINES = ("jsonl", "ecs", "ocsf", "cef", "csv")
#: A file as a whole.
FILES = ("parquet",)


@dataclass(frozen=True, slots=True)
class LineFormat:
    """How events are written, one a line.

    Attributes:
        name: one of `LINES`.
        line: an event, with its line end.
        header: what comes first in a file, with its line end; may be empty.
        start: how a file of such lines begins, by which one is known from something else.
        is_json: a line is a JSON object.
    """

    name: str
    line: Callable[[Event], bytes]
    header: bytes
    start: bytes
    is_json: bool


def find_format(name: str) -> LineFormat:
    """A form of lines.

    Raises:
        ValueError: it is none of `LINES`; with one line that says so.
    """
    if name not in LINES:
        raise ValueError(f"one of {', '.join(LINES)}")
    module = importlib.import_module(f"{__name__}.{name}")
    return LineFormat(name, module.build_line, getattr(module, "HEADER", b""), module.START, module.IS_JSON)
