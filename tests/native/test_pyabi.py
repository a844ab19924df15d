"""The table of offsets, and reading objects with it."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest

from native import generate_offsets
from pythonaudit.cli.interpreters import Interpreter
from tests.native.encode_probe import run

HEADER = generate_offsets.OUTPUT.read_text()


def test_objects_are_read_as_the_interpreter_has_them(interpreter: Interpreter) -> None:
    assert run(interpreter, "abi_checks.py") == "done\n"


def test_a_wrong_offset_is_found_and_not_used(interpreter: Interpreter) -> None:
    assert run(interpreter, "wrong_offsets.py", sanitized=False) == "done\n"


def test_the_table_is_what_the_headers_say(interpreter: Interpreter) -> None:
    ask = "import sysconfig; print(sysconfig.get_path('include'))"
    command = [str(interpreter.executable), "-I", "-c", ask]
    include = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    if not Path(include, "internal", "pycore_code.h").exists():
        pytest.skip(f"the headers of {interpreter.executable} are not installed")
    alone = generate_offsets.build_header([generate_offsets.probe(str(interpreter.executable))])
    assert set(alone.splitlines()) <= set(HEADER.splitlines())
    row = alone[alone.index("    {\n") : alone.index("    },\n")]
    assert row in HEADER


def test_a_probe_that_cannot_be_compiled_raises(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in *version_info*) echo 12;; *) echo {tmp_path};; esac\n')
    python.chmod(0o755)
    with pytest.raises(subprocess.CalledProcessError):
        generate_offsets.probe(str(python))


def test_every_supported_version_has_a_row() -> None:
    assert [f".minor = {minor}," in HEADER for minor in (10, 11, 12, 13)] == [True] * 4
    assert f".minor = {sysconfig.get_python_version().split('.')[1]}," in HEADER
