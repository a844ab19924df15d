"""The stack of an event is the stack that Python itself shows: file, line and function of every frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Installed
from tests.recorded import is_whole, threads

HERE = Path(__file__).parent
DEFAULT_DEPTH = 64


def normal(text: str) -> str:
    """Lone surrogates, which UTF-8 cannot hold, are written as the characters backslash, u and so on."""
    return text.encode("utf-8", "backslashreplace").decode()


@pytest.mark.parametrize("depth", [None, 0, 1, 3, 128])
def test_frame_by_frame(installed: Installed, tmp_path: Path, depth: int | None) -> None:
    settings = {} if depth is None else {"PYTHONAUDIT_STACK": str(depth)}
    recording = installed.record([HERE / "stack_program.py", tmp_path / "seen.json"], settings=settings)
    limit = DEFAULT_DEPTH if depth is None else depth
    wanted = json.loads((tmp_path / "seen.json").read_text())
    # Threads are joined before anything else goes on, so there is one order.
    found = sorted(recording.events("stack"), key=lambda e: e.time_ns)
    assert len(found) == len(wanted) > 200
    assert [e.values[0] for e in found] == [what for what, _ in wanted]
    for event, (what, frames) in zip(found, wanted, strict=True):
        shown = [(normal(file), line, normal(function)) for file, line, function in frames]
        assert event.stack == shown[:limit], what
        assert ("stack-truncated" in event.notes) == (len(shown) > limit > 0), what
    assert is_whole(recording)


MADE = {
    "each its own file": """
def make(n):
    scope = {}
    exec(compile(f"def made_{n}(audit):" + chr(10) * (1 + n % 7) + f" audit('made', {n})", f"<made {n}>", "exec"), scope)
    return scope[f"made_{n}"], (f"<made {n}>", 2 + n % 7, f"made_{n}")
""",
    "one file and name": """
def make(n):
    scope = {}
    exec(compile(chr(10) * n + f"def made(audit):" + chr(10) * (1 + n % 7) + f" audit('made', {n})", "<made>", "exec"), scope)
    return scope["made"], ("<made>", 2 + n % 7 + n, "made")
""",
    "replaced first lines": """
def made(audit):
    audit('made', n)

def make(n):
    code = made.__code__.replace(co_firstlineno=n + 1)
    globals()["n"] = n
    return type(made)(code, globals()), ("<string>", n + 2, "made")
""",
    "replaced names": """
def made(audit):
    audit('made', n)

def make(n):
    name = f"made_{n}"
    code = made.__code__.replace(co_name=name, co_filename=f"<made {n}>", **({"co_qualname": name} if qualified else {}))
    globals()["n"] = n
    return type(made)(code, globals()), (f"<made {n}>", made.__code__.co_firstlineno + 1, name)
""",
}


@pytest.mark.parametrize("how", MADE)
def test_no_function_is_taken_for_another_at_its_address(installed: Installed, how: str) -> None:
    """Code made at run time is freed, and the next one lies at its address."""
    program = f"""
import json, sys
qualified = sys.version_info >= (3, 11)
{MADE[how]}
addresses, wanted = set(), []
for n in range(5000):
    function, frame = make(n)
    addresses.add(id(function.__code__))
    wanted.append(frame)
    function(sys.audit)
    function(sys.audit)
print(json.dumps([len(addresses), wanted]))
"""
    recording = installed.record(program)
    addresses, wanted = json.loads(recording.completed.stdout)
    assert addresses < 4000
    found: list[Any] = [(e.values[0], list(e.stack[0])) for e in recording.events("made")]
    assert found == [(n, frame) for n, frame in enumerate(wanted) for _ in range(2)]
    assert len(threads(recording.journal.events())) == 1
    assert is_whole(recording)
