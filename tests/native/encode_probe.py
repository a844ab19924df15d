"""The recorder's encoder as a Python module: encode_probe.c, with the sources under test.

    probe = load()                                  # in this process, as it is shipped: -O2
    text, notes, revealed = probe.encode((1, "x"))

    run(interpreter, "hostile_values.py")           # in any interpreter, with the sanitizers

One abi3 file serves all interpreters with the GIL, as in the product. With the sanitizers every object is
allocated by malloc, so that reading beyond one is seen (not without the GIL: those have an allocator of their own).
"""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from pythonaudit.cli.interpreters import Interpreter, unrecorded
from tests.native import compiling

HERE = Path(__file__).resolve().parent
NATIVE = HERE.parents[1] / "native"
PARTS = ("encode", "value", "json", "mask", "mask_command", "pyabi")
STRICT = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O1"]

#: Keeps the directories for as long as the tests run.
_kept: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def build(sanitized: bool, interpreter: Interpreter | None = None) -> Path:
    """Compiles the module (for an interpreter without the GIL: that one); where it can be imported from."""
    _kept.append(tempfile.TemporaryDirectory())
    directory = Path(_kept[-1].name)
    sources = [HERE / "encode_probe.c", *(NATIVE / f"{part}.c" for part in PARTS)]
    command = ["cc", *STRICT, *(SANITIZE if sanitized else ["-O2"]), "-fPIC", "-shared"]
    command += [*compiling.options(interpreter), f"-I{NATIVE}"]
    command += [*map(str, sources), "-o", str(directory / "probe.so")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return directory


@functools.cache
def load() -> Any:
    """The module in this process, without sanitizers."""
    spec = importlib.util.spec_from_file_location("probe", build(False) / "probe.so")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def _runtimes() -> str:
    names = ("libasan.so", "libubsan.so")
    found = [subprocess.check_output(["cc", f"-print-file-name={name}"], text=True).strip() for name in names]
    return " ".join(found)


def run(interpreter: Interpreter, program: str, sanitized: bool = True) -> str:
    """Runs a program of this directory, which has to end with 0; what it wrote to stdout."""
    environment = unrecorded(os.environ)
    built = build(sanitized, interpreter if interpreter.free_threaded else None)
    environment["PYTHONPATH"] = os.pathsep.join([str(built), str(HERE)])
    if sanitized:
        environment["LD_PRELOAD"] = _runtimes()
        environment["ASAN_OPTIONS"] = "detect_leaks=0"  # CPython frees little at its end
        environment["UBSAN_OPTIONS"] = "print_stacktrace=1"
        if not interpreter.free_threaded:
            environment["PYTHONMALLOC"] = "malloc"
    command = [str(interpreter.executable), "-B", str(HERE / program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-6000:]}"
    return done.stdout
