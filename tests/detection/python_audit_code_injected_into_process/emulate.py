"""A process asks that a script be run in it; and a file called as a debugger is asks a process that is not there."""

import contextlib
import os
import runpy
import sys
from pathlib import Path

NEEDS = (3, 14)
NOBODY = (1 << 22) + 1  # more than processes there can be
CODE = """
import contextlib, sys
with contextlib.suppress(OSError, RuntimeError):
    sys.remote_exec(process, script)
"""


def match() -> None:
    script = Path("script.py").absolute()
    script.write_text("answer = 42\n")
    sys.remote_exec(os.getpid(), str(script))
    for _ in range(1000):  # it is run when the interpreter looks up from its work
        pass


def nomatch() -> None:
    Path("pdb.py").write_text(CODE)
    with contextlib.suppress(FileNotFoundError):
        runpy.run_path(str(Path("pdb.py").absolute()), {"process": NOBODY, "script": "/srv/app/script.py"})
