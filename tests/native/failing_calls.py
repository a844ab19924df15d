"""The native files with failing_calls.c linked in: every allocation and system call of theirs can be made to fail.

`build` compiles the recorder or the shim so; `environment` says which call is to fail.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from pythonaudit.cli.interpreters import Interpreter
from tests.conftest import ROOT
from tests.native import compiling

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "failing_calls.c"
#: What is wrapped, read from the file that does it.
FAILING = re.findall(r"^\S.* \*?__wrap_(\w+)\(", SOURCE.read_text(), re.M)
FAILING += re.findall(r"^WRAP(?:_OPEN)?\((?:[\w *]+, )?(\w+), \(", SOURCE.read_text(), re.M)


def build(directory: Path, name: str, interpreter: Interpreter) -> Path:
    """Compiles `_recorder` for the interpreter, or `_preload`, into `directory`; returns the file."""
    shim = name == "_preload"
    # The shim is where the C library's own functions are found from: what looks for them cannot fail there.
    failing = [function for function in FAILING if not (shim and function == "dlsym")]
    sources = [p for p in sorted((ROOT / "native").glob("*.c")) if p.name.startswith("preload") == shim]
    built = directory / ("_preload.abi3.so" if shim else interpreter.recorder_file)
    command = ["cc", "-std=gnu11", "-O1", "-g", "-fvisibility=hidden", "-fPIC", "-shared", "-Wall", "-Wextra"]
    command += ["-Werror", "-Wl,-z,nodelete", *(f"-Wl,--wrap={function}" for function in failing)]
    if not shim:
        command += [*compiling.options(interpreter), '-DPA_VERSION="0.0.0"']
    command += [*map(str, sources), str(SOURCE), "-o", str(built), "-ldl", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return built


def environment(report: Path, *, at: int = 0, onward: int = 0) -> dict[str, str]:
    """Variables by which the call number `at` fails, or all from number `onward`; what failed goes to `report`."""
    return {"FAIL_AT": str(at), "FAIL_FROM": str(onward), "FAIL_REPORT": str(report)}
