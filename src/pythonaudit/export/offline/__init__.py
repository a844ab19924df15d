"""verify.py of the bundles of evidence: verifies one offline, without pythonaudit.

`source()` is that program: the modules of this package, one after the other, in one file. Python 3.8 or later, and
nothing but its standard library: whoever is given a bundle has nothing else.
"""

from __future__ import annotations

import ast
from importlib import resources

#: In the order in which they stand in verify.py.
MODULES = ("files", "seal", "log", "events", "verify")


def source() -> str:
    """The text of verify.py."""
    texts = [resources.files(__package__).joinpath(f"{name}.py").read_text("utf-8") for name in MODULES]
    future = "from __future__ import annotations\n\n"
    return texts[-1].partition(future)[0] + future + "\n\n".join(map(_body, texts))


def _body(text: str) -> str:
    """A module without its opening comment and what it imports from the others."""
    lines = text.splitlines(keepends=True)
    for node in ast.parse(text).body:
        is_comment = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_ours = isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            ("__future__", "pythonaudit")
        )
        if (is_comment or is_ours) and node.end_lineno:
            lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    return "".join(lines).removeprefix("#!/usr/bin/env python3").strip() + "\n"
