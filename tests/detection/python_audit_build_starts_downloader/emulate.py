"""A hook of a build asks a program for its version; the program of a compiler, and the same outside of a build."""

import runpy
from pathlib import Path

HOOK = """
import contextlib, subprocess
with contextlib.suppress(FileNotFoundError):
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
"""


def _build(name: str, command: str) -> None:
    place = Path("pyproject_hooks", "_in_process")
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_text(HOOK)
    runpy.run_path(str((place / name).absolute()), {"command": [command, "--version"]})


def match() -> None:
    _build("_in_process.py", "curl")


def nomatch() -> None:
    _build("_in_process.py", "cc")
    _build("other.py", "curl")
