"""Hostile values, in every interpreter, under the sanitizers."""

from __future__ import annotations

from pythonaudit.cli.interpreters import Interpreter
from tests.native.encode_probe import run


def test_hostile_values(interpreter: Interpreter) -> None:
    assert run(interpreter, "hostile_values.py") == "done\n"
