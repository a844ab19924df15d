"""A hook of a build looks for a key in a home of its own; for a setting there; and other code looks for the key."""

import contextlib
import runpy
from pathlib import Path

HOOK = """
import contextlib, pathlib
with contextlib.suppress(FileNotFoundError):
    pathlib.Path("home", name).read_bytes()
"""


def match() -> None:
    Path("setup.py").write_text(HOOK)
    runpy.run_path(str(Path("setup.py").absolute()), {"name": ".ssh/id_rsa"})


def nomatch() -> None:
    Path("setup.py").write_text(HOOK)
    runpy.run_path(str(Path("setup.py").absolute()), {"name": ".pydistutils.cfg"})
    with contextlib.suppress(FileNotFoundError):
        Path("home", ".ssh", "id_rsa").read_bytes()
