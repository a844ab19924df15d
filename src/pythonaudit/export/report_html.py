"""A report as one file of HTML that needs nothing else, and can reach nothing else: no script, no picture, no link.

    "".join(render(document, show))

All text is escaped. Were that not enough, the content security policy of the page allows the one style sheet that it
names by hash, and nothing to be run or loaded.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Callable, Iterator

from pythonaudit.export.document import Cell, Document, Table

Show = Callable[[str], str]

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: 1rem 0; width: 100%; }
th, td { border-bottom: 1px solid #8884; padding: .3rem .6rem; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; } td.number { text-align: right; font-variant-numeric: tabular-nums; }
p.more { opacity: .7; }
@media print { body { margin: 0; max-width: none; } tr { break-inside: avoid; } }
"""


def render(document: Document, show: Show) -> Iterator[str]:
    """Pieces of the page.

    Args:
        document: what it says.
        show: makes text printable.
    """

    def text(value: str) -> str:
        return html.escape(show(value))

    title = text(document.title)
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    yield f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="pythonaudit">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
"""
    for section in document.sections:
        yield f"<h2>{text(section.title)}</h2>\n"
        for block in section.blocks:
            if isinstance(block, Table):
                yield from _table(block, text)
            else:
                yield f"<p>{text(block)}</p>\n"
    yield "</body>\n</html>\n"


def _table(table: Table, text: Show) -> Iterator[str]:
    heads = "".join(f'<th scope="col">{text(column)}</th>' for column in table.columns)
    yield f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n"
    for row in table.rows:
        yield f"<tr>{''.join(_cell(cell, text) for cell in row)}</tr>\n"
    yield "</tbody>\n</table>\n"
    if table.more:
        yield f'<p class="more">and {table.more:,} more</p>\n'


def _cell(cell: Cell, text: Show) -> str:
    return f'<td class="number">{cell:,}</td>' if isinstance(cell, int) else f"<td>{text(cell)}</td>"
