"""Hooks of others that refuse, raise or recurse: they do as without us, and what they saw is recorded."""

from __future__ import annotations

import pytest

from tests.conftest import Installed
from tests.fault.ways import record_beside
from tests.recorded import is_whole

HOOKS = {
    "refuses": "raise RuntimeError('refused')",
    "ends": "raise SystemExit(3)",
    "recurses": "sys.audit('app.inner', *args) if args[0] else None",
    "recurses without end": "sys.audit(name, *args)",
}


@pytest.mark.parametrize("how", HOOKS)
def test_hooks_of_others(installed_here: Installed, way: str, how: str) -> None:
    program = f"""
import sys
def hook(name, args):
    if name == "app.event":
        {HOOKS[how]}
sys.addaudithook(hook)
for n in range(20):
    try:
        sys.audit("app.event", n)
    except BaseException as error:
        print(n, type(error).__name__)
print("done")
"""
    recording = record_beside(installed_here, way, program)
    assert {e.values[0] for e in recording.events("app.event")} == set(range(20))
    assert is_whole(recording)
