"""A flame graph as one file of HTML that needs nothing else, and can reach nothing else.

    "".join(page(tree, show, "pythonaudit stacks", "302 events"))

The tree lies in the file as JSON, callers before callees; assets/flame.js draws what is wide enough to be seen.
Text of frames is in no markup: `<`, `>` and `&` are escaped in the JSON, and the script makes text nodes of it.
Were that not enough, the content security policy of the page runs the one script and uses the one style sheet
that it names by hash, and lets it load nothing: no picture, no connection, no form.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterator
from importlib import resources

from pythonaudit.query.flame import ROOT, Show, Tree

# `<` and `&` would end or change the element that the data is in; `>` would not, and is rare.
_ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def page(tree: Tree, show: Show, title: str, summary: str) -> Iterator[str]:
    """Pieces of the page.

    Args:
        tree: the events.
        show: makes text printable.
        title: what it shows.
        summary: a line below the title.
    """
    style, script = _asset("flame.css"), _asset("flame.js")
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'"
    yield f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="pythonaudit">
<title>{html.escape(show(title))}</title>
<style>{style}</style>
</head>
<body>
<header>
<div><h1>{html.escape(show(title))}</h1><p>{html.escape(show(summary))}</p></div>
<div id="tools">
<span id="found" role="status"></span>
<input id="search" type="search" placeholder="Search" aria-label="Search function, file, package or event">
<button id="reset" type="button" hidden="hidden">All events</button>
</div>
</header>
<noscript><p>The graph is drawn by the script in this file. The same as text: pythonaudit stacks</p></noscript>
<main id="graph"></main>
<footer>
<span class="key code">your code and packages</span>
<span class="key library">standard library</span>
<span class="key event">event</span>
<span class="key note">no frame</span>
<span>Callers are above what they call. Click to zoom, Escape for all, / to search.</span>
</footer>
<div id="tip" role="tooltip" hidden="hidden"></div>
<script type="application/json" id="data">"""
    yield from _data(tree, show)
    yield f"</script>\n<script>{script}</script>\n</body>\n</html>\n"


def _data(tree: Tree, show: Show) -> Iterator[str]:
    """`frames`: [name, file, kind]; `nodes`, flat: frame, number of callees that follow, own events."""
    frames = [[show(frame.name), show(frame.file or ""), frame.kind] for frame in tree.frames]
    yield f'{{"frames":{_json(frames)},"nodes":['
    totals, name = tree.totals(), tree.by_name()
    callees = tree.parent[1:].count(ROOT)
    yield f"-1,{callees},{tree.own[ROOT]}"
    for node, _, callees in tree.walk(lambda node: (-totals[node], name(node))):
        yield f",{tree.frame[node]},{callees},{tree.own[node]}"
    yield "]}"


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(f"assets/{name}").read_text("utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":")).translate(_ESCAPED)
