"""What the recorder's sources are compiled with for an interpreter: once for all with the GIL, as in the product."""

from __future__ import annotations

import functools
import subprocess
import sysconfig

from pythonaudit.cli.interpreters import Interpreter


@functools.cache
def options(interpreter: Interpreter | None = None) -> tuple[str, ...]:
    """Options of the compiler; without an interpreter, those for all with the GIL."""
    if interpreter is None or not interpreter.free_threaded:
        return "-DPy_LIMITED_API=0x030A0000", f"-I{sysconfig.get_path('include')}"
    ask = [str(interpreter.base), "-I", "-c", "import sysconfig; print(sysconfig.get_path('include'))"]
    include = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    return "-DPA_FREE_THREADED", f"-I{include}"
