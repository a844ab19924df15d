"""The only printer: how data looks on a terminal, in a pipe and in CSV. Home of Rich.

Text from events is untrusted: an event may carry escape sequences that move the cursor, line ends that forge
further lines, bidirectional marks that swap what is read, or a formula that a spreadsheet runs. So

- `neutralise` turns whatever does not print into `\\x1b` and the like, on terminals and in pipes alike
  (`say` does it for what is said on stderr);
- `csv_line` puts an apostrophe before what a spreadsheet would take for a formula.

Rich knows what the terminal can do (TERM, NO_COLOR, FORCE_COLOR, COLUMNS) and how wide a character is.
It is imported only when something is laid out or somebody waits: JSON and CSV start without it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pythonaudit.export.formats import safe
from pythonaudit.export.formats.safe import json_text as json_text
from pythonaudit.export.formats.safe import neutralise as neutralise

if TYPE_CHECKING:
    from rich.color import ColorSystem
    from rich.style import Style

_FORCED = frozenset({"FORCE_COLOR", "TTY_COMPATIBLE"})  # paint, whatever stdout is
_GAP = 2
_WRITE_BYTES = 1 << 16
_NARROWEST = 12


def neutralise_json(line: bytes) -> bytes:
    r"""The same for a line of JSON, and still the same JSON: `\u009b` instead of the character."""
    if line.isascii() and b"\x7f" not in line:
        return line
    return safe.neutralise_json(line.decode().rstrip("\n")).encode() + b"\n"


def say(text: str) -> None:
    """Says something to a person: one line on stderr."""
    print(f"pythonaudit: {neutralise(text)}", file=sys.stderr)


@contextmanager
def progress(what: str) -> Iterator[Callable[[float, float], None]]:
    """Shows how far long work is while it lasts: a bar on stderr; nothing where that is no terminal.

    Args:
        what: a word or two.

    Yields:
        What is told how much of how much is done.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def amount(count: int, one: str, more: str | None = None) -> str:
    """So many of what: `1 event`, `1,000 events`; `more`: the plural, if it is not made with an s."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def json_line(row: Mapping[str, object], is_terminal: bool) -> bytes:
    """A line of JSON, its end included; half of a pair of surrogates is escaped.

    Args:
        is_terminal: escape what does not print as well: it is shown at once.
    """
    line = safe.json_line(row)
    return neutralise_json(line) if is_terminal else line


def csv_line(cells: Sequence[object], is_terminal: bool) -> str:
    """A line of CSV, its end included. None is an empty cell; lists and the like are JSON.

    Args:
        cells: text that a spreadsheet would run as a formula gets an apostrophe in front.
        is_terminal: neutralise the text: it is shown at once.
    """
    return safe.csv_line(cells, neutralise if is_terminal else None)


class Output:
    """Stdout. Text is gathered: a million lines are few writes, whatever PYTHONUNBUFFERED says.

    Attributes:
        is_terminal: whether somebody looks at it.
    """

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, text: str | bytes) -> None:
        """Takes text; characters that stdout cannot show are escaped."""
        part = text if isinstance(text, bytes) else text.encode(sys.stdout.encoding, "backslashreplace")
        self._parts.append(part)
        self._size += len(part)
        if self._size >= _WRITE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what has been gathered."""
        sys.stdout.buffer.write(b"".join(self._parts))
        sys.stdout.flush()
        self._parts.clear()
        self._size = 0


class Screen:
    """How wide stdout is, for people, and how to lay text out on it."""

    def __init__(self, is_terminal: bool) -> None:
        self._is_terminal = is_terminal
        self._system: ColorSystem | None = None
        if not is_terminal and _FORCED.isdisjoint(os.environ):
            return  # nothing is painted or cut, and to load Rich takes as long as to read a few events
        from rich.color import ColorSystem
        from rich.console import Console
        from rich.style import Style

        self._console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
        self._system = None if self._console.color_system is None else ColorSystem.STANDARD
        self._style = Style
        self._styles: dict[str, Style] = {}

    @property
    def width(self) -> int | None:
        """Columns of the terminal, which can change; None: no terminal, nothing is cut."""
        return self._console.width if self._is_terminal else None

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
        tail = self.head(text[::-1], width - 1 - width * 2 // 5)[::-1]
        return f"{head}…{tail}"

    def head(self, text: str, width: int) -> str:
        """The beginning of text in exactly `width` columns."""
        from rich.cells import set_cell_size

        return set_cell_size(text, width)

    def columns(self, text: str) -> int:
        """The columns that text takes: two for wide characters, none for combining ones."""
        if text.isascii():
            return len(text)
        from rich.cells import cell_len

        return cell_len(text)

    def bar(self, value: int, largest: int, width: int) -> str:
        """A bar for a number, in eighths of a column; empty where nobody looks."""
        if not self._is_terminal or not largest:
            return ""
        eighths = max(value * width * 8 // largest, 1)
        if "utf" not in (sys.stdout.encoding or "").lower():
            return "#" * max(eighths // 8, 1)
        return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str | int]], give_way: int = 1) -> str:
        """A table, numbers to the right; where room is short, the first `give_way` columns do."""
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [max(map(self.columns, column)) for column in zip(columns, *cells, strict=True)]
        excess = 0 if self.width is None else sum(widths) + _GAP * (len(widths) - 1) - self.width
        for _ in range(excess):
            widest = max(range(give_way), key=lambda index: widths[index])
            widths[widest] -= widths[widest] > _NARROWEST
        lines = [self.paint(self._row(columns, widths, rows[0] if rows else columns), "dim")]
        lines += [self._row(row, widths, values) for row, values in zip(cells, rows, strict=True)]
        return "".join(f"{line}\n" for line in lines)

    def _row(self, cells: Sequence[str], widths: Sequence[int], values: Sequence[object]) -> str:
        fitted = (
            cell.rjust(width) if isinstance(value, int) else self.fit(cell, width)
            for cell, width, value in zip(cells, widths, values, strict=True)
        )
        return (" " * _GAP).join(fitted).rstrip()


def _cell(value: str | int) -> str:
    return f"{value:,}" if isinstance(value, int) else neutralise(value)
