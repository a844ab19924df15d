"""A file of code that removes itself, and one that removes another."""

import runpy
from pathlib import Path

CODE = """
import os
os.remove(name)
"""


def _run(name: str, removed: str) -> None:
    for place in {name, removed}:
        Path(place).write_text(CODE)
    runpy.run_path(str(Path(name).absolute()), {"name": str(Path(removed).absolute())})


def match() -> None:
    _run("once.py", "once.py")


def nomatch() -> None:
    _run("once.py", "other.py")
