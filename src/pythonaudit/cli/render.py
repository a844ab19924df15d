"""The only printer: how data looks on a terminal, in a pipe and in CSV. Home of Rich.

Text from events is untrusted: an event may carry escape sequences that move the cursor, line ends that forge
further lines, bidirectional marks that swap what is read, or a formula that a spreadsheet runs. So

- `neutralise` turns whatever does not print into `\\x1b` and the like, on terminals and in pipes alike;
- `csv_cell` puts an apostrophe before what a spreadsheet would take for a formula.

Rich knows what the terminal can do (TERM, NO_COLOR, FORCE_COLOR, COLUMNS) and how wide a character is.
It is imported only when something is laid out: JSON and CSV start without it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_GAP = 2
_NARROWEST = 12


def neutralise(text: str) -> str:
    """Text in which every character prints: controls, escapes, bidirectional and invisible ones are escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def neutralise_json(line: bytes) -> bytes:
    r"""The same for JSON text, and still the same JSON: `\u009b` instead of the character."""
    if line.isascii() and b"\x7f" not in line:
        return line
    return "".join(char if char.isprintable() else _json_escape(char) for char in line.decode()).encode()


def csv_cell(value: object) -> str:
    """A cell of CSV; text that a spreadsheet would run as a formula gets an apostrophe in front."""
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return str(value)


class Screen:
    """Stdout, for people: a terminal with a width and colours, or a pipe with neither.

    Attributes:
        width: columns of the terminal; None: no terminal, nothing is cut.
    """

    def __init__(self) -> None:
        from rich.cells import cell_len, set_cell_size
        from rich.color import ColorSystem
        from rich.console import Console
        from rich.style import Style

        self._console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
        self._cell_len = cell_len
        self._set_cell_size = set_cell_size
        self._system = None if self._console.color_system is None else ColorSystem.STANDARD
        self._style = Style
        self._styles: dict[str, Style] = {}
        self.width: int | None = self._console.width if sys.stdout.isatty() else None

    def paint(self, text: str, style: str) -> str:
        """Text in a style (Rich's words: `bold red`), where colours are wanted. It must be neutralised."""
        if self._system is None or not text:
            return text
        known = self._styles.get(style)
        if known is None:
            known = self._style.parse(style)
            if self._console.no_color:
                known = known.without_color
            self._styles[style] = known
        return known.render(text, color_system=self._system)

    def fit(self, text: str, width: int) -> str:
        """Text in exactly `width` columns: filled with blanks, or cut in the middle, where it tells least."""
        length = self.columns(text)
        if length <= width:
            return text + " " * (width - length)
        head = self.head(text, width * 2 // 5)
        tail = self._set_cell_size(text[::-1], width - 1 - width * 2 // 5)[::-1]
        return f"{head}…{tail}"

    def head(self, text: str, width: int) -> str:
        """The beginning of text in exactly `width` columns."""
        return self._set_cell_size(text, width)

    def columns(self, text: str) -> int:
        """The columns that text takes: two for wide characters, none for combining ones."""
        return len(text) if text.isascii() else self._cell_len(text)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str | int]]) -> None:
        """Prints a table: numbers to the right; the first column gives way where room is short."""
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [max(map(self.columns, column)) for column in zip(columns, *cells, strict=True)]
        if self.width is not None:
            others = sum(widths[1:]) + _GAP * (len(widths) - 1)
            widths[0] = max(min(widths[0], self.width - others), _NARROWEST)
        print(self.paint(self._row(columns, widths, rows[0] if rows else columns), "dim"))
        for row, values in zip(cells, rows, strict=True):
            print(self._row(row, widths, values))

    def _row(self, cells: Sequence[str], widths: Sequence[int], values: Sequence[object]) -> str:
        fitted = (
            cell.rjust(width) if isinstance(value, int) else self.fit(cell, width)
            for cell, width, value in zip(cells, widths, values, strict=True)
        )
        return (" " * _GAP).join(fitted).rstrip()


def _cell(value: str | int) -> str:
    return f"{value:,}" if isinstance(value, int) else neutralise(value)


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
