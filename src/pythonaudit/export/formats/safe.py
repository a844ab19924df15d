"""Text from events is untrusted: whoever raised one may have put in it what moves a cursor, ends a line, swaps what
is read, or is run by a spreadsheet.

- `neutralise` turns whatever does not print into `\\x1b` and the like, `neutralise_json` does so within JSON;
- `csv_line` puts an apostrophe before what a spreadsheet would take for a formula.

The standard library only: verbs of the base installation print with it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def neutralise(text: str) -> str:
    """Text in which every character prints: controls, escapes, bidirectional and invisible ones are escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def neutralise_json(text: str) -> str:
    r"""The same for JSON, and still the same JSON: `\u009b` instead of the character."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _json_escape(char) for char in text)


def json_text(value: object) -> str:
    """A value as JSON, as short as can be."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_line(value: object) -> bytes:
    """A line of JSON, its end included; half of a pair of surrogates is escaped."""
    return json_text(value).encode("utf-8", "backslashreplace") + b"\n"


def csv_line(cells: Sequence[object], show: Callable[[str], str] | None = None) -> str:
    """A line of CSV, its end included. None is an empty cell; lists and the like are JSON.

    Args:
        cells: text that a spreadsheet would run as a formula gets an apostrophe in front.
        show: what is done with the text of each cell besides.
    """
    line = io.StringIO()
    texts = (_csv_text(cell) for cell in cells)
    # Told that lines end with both, it quotes cells that have either.
    writer = csv.writer(line, lineterminator="\r\n")
    writer.writerow(map(show, texts) if show else texts)
    return line.getvalue().removesuffix("\r\n") + "\n"


def _csv_text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return "'" + cell if cell.startswith(_FORMULA) else cell
    return json_text(cell) if isinstance(cell, bool | list | dict) else str(cell)


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
