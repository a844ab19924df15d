"""Event names: any text, any number of them, and anybody's to raise."""

from __future__ import annotations

import re

from pythonaudit import catalog
from tests.conftest import Installed
from tests.recorded import SOAK, is_whole, threads

MILLION = 1_000_000
#: Growth of anonymous memory over a million names: tables of bounded size, and not those names.
MEMORY_MAX_KIB = 16 * 1024


def test_a_million_names(installed_here: Installed) -> None:
    """Short ones, which are kept as long as there is room, and messages, which are another one each time."""
    program = f"""
import re, sys

def anonymous_kib():
    with open("/proc/self/status") as status:
        return int(re.search(r"RssAnon:\\s+(\\d+)", status.read())[1])

def raise_names(first, last):
    for n in range(first, last, 2):
        sys.audit(f"distinct.{{n}}")
        sys.audit(f"Number: n={{n + 1}}")

raise_names(-20000, 0)  # whatever is filled once is full
before = anonymous_kib()
raise_names(0, {MILLION * SOAK})
print(anonymous_kib() - before)
"""
    recording = installed_here.record(program)
    grown = int(recording.completed.stdout)
    assert grown < MEMORY_MAX_KIB
    found: set[int] = set()
    for segment in recording.directory.rglob("*.pyaudit"):
        found |= set(map(int, re.findall(rb"(?:distinct\.|Number: n=)(-?\d+)", segment.read_bytes())))
    assert found == set(range(-20000, MILLION * SOAK))
    assert is_whole(recording)
    (trail,) = recording.journal.processes()
    assert 0 <= trail.events - len(found) < 1000  # the rest is what Python raises by itself


def test_the_same_name_at_another_address(installed: Installed) -> None:
    """Names are compared by what they say: addresses are used again for others, and the same ones move."""
    program = """
import sys
for n in range(30000):
    sys.audit("".join(("repeated.", str(n * 7919 % 6000))), n)
"""
    recording = installed.record(program)
    (thread,) = threads(recording.journal.events()).values()
    found = [(e.event, e.values[0]) for e in thread if e.event.startswith("repeated.")]
    assert found == [(f"repeated.{n * 7919 % 6000}", n) for n in range(30000)]
    assert is_whole(recording)


NAMES = {
    "": "",
    " ": " ",
    "a\0b": "a",  # C's end of a string
    "line\nbreak, tab\t, bell\a, escape\x1b[31m": "line\nbreak, tab\t, bell\a, escape\x1b[31m",
    "emoji 😀 and 日本": "emoji 😀 and 日本",
    "\u202ereversed": "\u202ereversed",
    "quote \" and ' and \\": "quote \" and ' and \\",
    "x" * 64: "x" * 64,
    "x" * 65: "x" * 65,
    "x" * 4096: "x" * 4096,
    "x" * 10000: "x" * 4096,
    "é" * 5000: "é" * 2048,
    "x" + "😀" * 2500: "x" + "😀" * 1023,
    "pythonaudit.canary": "pythonaudit.canary",
}


def test_names_of_every_shape(installed: Installed) -> None:
    """Once and again, first as others come and then as those that are known."""
    refuses_nul = installed.interpreter.version >= (3, 14)
    names = {name: kept for name, kept in NAMES.items() if not (refuses_nul and "\0" in name)}
    program = f"""
import sys
for again in range(3):
    for n, name in enumerate({list(names)!r}):
        sys.audit(name, again, n)
"""
    recording = installed.record(program)
    (thread,) = threads(recording.journal.events()).values()
    found = [(e.event, e.values, "name-changed" in e.notes) for e in thread if e.source == "application"]
    assert found == [
        (kept, [again, n], len(kept) == 4096 < len(name) or (len(kept.encode()) > 4090 and kept != name))
        for again in range(3)
        for n, (name, kept) in enumerate(names.items())
    ]
    assert is_whole(recording)


def test_what_cannot_be_a_name_is_refused_by_python_as_ever(installed: Installed) -> None:
    program = """
import sys
for name in ("\\udc80", b"bytes", None, 1) + ("a\\0b",) * (sys.version_info >= (3, 14)):
    try:
        sys.audit(name)
    except Exception as error:
        print(type(error).__name__)
"""
    recording = installed.record(program)
    errors = ["UnicodeEncodeError", "TypeError", "TypeError", "TypeError"]
    if installed.interpreter.version >= (3, 14):
        errors.append("ValueError")
    assert recording.completed.stdout.split() == errors
    assert is_whole(recording)


def test_forged_names(installed: Installed) -> None:
    """Whatever an application calls its events: it is known that it was the application, and recording goes on."""
    names = [name for name, info in catalog.events().items() if info.mode == "record"]
    assert "cpython._PySys_ClearAuditHooks" in names
    assert "cpython.PyInterpreterState_Clear" in names
    program = f"""
import sys
for name in {names!r}:
    sys.audit(name, "forged")
sys.audit("still recorded")
"""
    recording = installed.record(program)
    forged = [e for e in recording.events() if e.values[:1] == ["forged"] or "forged" in str(e.values)]
    by_name = {e.event: e for e in recording.events() if e.source == "application"}
    assert set(by_name) == {*names, "still recorded"}
    assert all("reserved-name" in by_name[name].notes for name in names)
    assert by_name["still recorded"].notes == ()
    assert len(forged) > 100
    genuine = [e for e in recording.events() if e.source == "interpreter"]
    assert genuine[-1].event == "cpython._PySys_ClearAuditHooks"
    assert not any("reserved-name" in e.notes for e in genuine)
    (thread,) = threads(recording.journal.events()).values()
    assert {e.interpreter for e in thread} == {0}
    (trail,) = recording.journal.processes()
    assert trail.ended
    assert trail.segments == 1  # the forged end has ended nothing
    assert is_whole(recording)
