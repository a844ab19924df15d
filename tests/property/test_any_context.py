"""Any fields at all: a context never raises, and what is written of it is strict JSON and reads back the same."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Installed
from tests.recorded import is_whole

PROGRAM = """
import json, sys, pythonaudit
for n, (outer, inner) in enumerate(json.load(open(sys.argv[1]))):
    with pythonaudit.context(**outer):
        sys.audit("app.outer", n)
        with pythonaudit.context(**inner):
            sys.audit("app.inner", n)
sys.audit("app.after")
"""

TEXT = st.text(st.characters(blacklist_categories=()), max_size=40)
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from(["x" * 5000, "\x00" * 4000])
)
ANY = st.dictionaries(TEXT, VALUES | st.lists(VALUES, max_size=2), max_size=6)
#: What is neither masked nor cut, and has no tagged form.
PLAIN = st.dictionaries(
    st.text(st.sampled_from('xyz\xe9\u20ac\n"\\ '), max_size=10),
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.sampled_from('xyz\xe9\u20ac\U0001f40d\n"\\ '), max_size=40),
    max_size=6,
)

SETTINGS = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def record(installed: Installed, path: Path, pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[Any]:
    """The contexts that come out: of each pair the outer and the inner one, then the one after."""
    path.write_text(json.dumps(pairs))
    recording = installed.record(["-c", PROGRAM, path])
    assert is_whole(recording)
    events = [e for e in recording.journal.events() if e.event.startswith("app.")]
    assert len(events) == 2 * len(pairs) + 1
    for event in events:
        orjson.loads(event.to_json())
    assert not recording.journal.damage()
    return [event.context for event in events]


@given(st.lists(st.tuples(ANY, ANY), min_size=20, max_size=60))
@SETTINGS
def test_any_context(installed_here: Installed, tmp_path: Path, pairs: list[Any]) -> None:
    found = record(installed_here, tmp_path / "pairs", pairs)
    assert found[-1] == {}
    for (outer, inner), written in zip(pairs, found[1::2]):
        assert len(written) <= len(outer | inner) + 1  # $more


@given(st.lists(st.tuples(PLAIN, PLAIN), min_size=20, max_size=60))
@SETTINGS
def test_a_plain_context_reads_back(installed_here: Installed, tmp_path: Path, pairs: list[Any]) -> None:
    found = record(installed_here, tmp_path / "pairs", pairs)
    for (outer, inner), (first, second) in zip(pairs, zip(found[::2], found[1::2])):
        for fields, written in ((outer, first), (outer | inner, second)):
            assert list(written) == list(fields)
            assert all(
                math.isclose(a, b, rel_tol=0) if isinstance(a, float) else (a, type(a)) == (b, type(b))
                for a, b in zip(fields.values(), written.values())
            )
