"""A report as Markdown, with the tables of GitHub.

    "".join(render(document, show))

Text in which anything could be markup, a link or a mention stands in code spans, in which nothing is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pythonaudit.export.document import Cell, Document, Table

Show = Callable[[str], str]

# What is plain wherever it stands: words, and between them what is no markup there.
_PLAIN = re.compile(r"(?:[^\W_](?:[^\W_]|(?<=[^\W_])_(?=[^\W_])|[ ,;:.()/%'+=-])*)?")
_NOT_PLAIN = re.compile(r"(?i)\A[0-9]+[.)](?:\s|\Z)|www\.|://")
_TICKS = re.compile(r"`+")
_BEFORE_PIPE = re.compile(r"(?<=\\)(?=\|)")


def render(document: Document, show: Show) -> Iterator[str]:
    """Pieces of the text.

    Args:
        document: what it says.
        show: makes text printable.
    """
    yield f"# {escape(show(document.title))}\n"
    for section in document.sections:
        yield f"\n## {escape(show(section.title))}\n"
        for block in section.blocks:
            if isinstance(block, Table):
                yield from _table(block, show)
            else:
                yield f"\n{escape(show(block))}\n"


def escape(text: str, in_table: bool = False) -> str:
    """One line of text, without markup."""
    if _PLAIN.fullmatch(text) and not _NOT_PLAIN.search(text):
        return text
    # A backslash before the one that a pipe needs would make that a border: they are kept apart.
    pieces = _BEFORE_PIPE.split(text) if in_table else [text]
    return " ".join(_code(piece.replace("|", "\\|") if in_table else piece) for piece in pieces)


def _table(table: Table, show: Show) -> Iterator[str]:
    yield "\n| " + " | ".join(escape(show(column), True) for column in table.columns) + " |\n"
    is_number = [all(isinstance(row[at], int) for row in table.rows) for at in range(len(table.columns))]
    yield "| " + " | ".join("---:" if number else "---" for number in is_number) + " |\n"
    for row in table.rows:
        yield "| " + " | ".join(_cell(cell, show) for cell in row) + " |\n"
    if table.more:
        yield f"\nand {table.more:,} more\n"


def _cell(cell: Cell, show: Show) -> str:
    return f"{cell:,}" if isinstance(cell, int) else escape(show(cell), True)


def _code(text: str) -> str:
    ticks = "`" * (1 + max((len(run) for run in _TICKS.findall(text)), default=0))
    # One space at both ends is taken away again.
    is_padded = text.startswith(("`", " ")) or text.endswith(("`", " "))
    return f"{ticks} {text} {ticks}" if is_padded else f"{ticks}{text}{ticks}"
