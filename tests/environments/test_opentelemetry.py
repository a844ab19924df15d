"""Events are in the span that OpenTelemetry has for current, and nothing of it is called."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Installed
from tests.environments.conftest import Fetch
from tests.fault.ways import WAYS, record
from tests.recorded import is_whole

PROGRAM = """
import asyncio, json, sys, threading, pythonaudit
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider

trace.set_tracer_provider(TracerProvider())
tracer = trace.get_tracer("test")
expected = {}

def audit(name):
    span = trace.get_current_span().get_span_context()
    ids = {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"} if span.is_valid else {}
    expected[name] = ids
    sys.audit(name)

def spans(name):
    audit(f"{name}.before")
    with tracer.start_as_current_span("outer"):
        audit(f"{name}.outer")
        with tracer.start_as_current_span("inner"):
            audit(f"{name}.inner")
        audit(f"{name}.outer.again")
        try:
            with tracer.start_as_current_span("failing"):
                audit(f"{name}.failing")
                raise ValueError
        except ValueError:
            audit(f"{name}.caught")
    audit(f"{name}.after")

async def task(name):
    with tracer.start_as_current_span(name):
        for step in range(3):
            audit(f"{name}.{step}")
            await asyncio.sleep(0)

async def tasks():
    with tracer.start_as_current_span("tasks"):
        await asyncio.gather(*(task(f"app.task{n}") for n in range(3)))
        audit("app.tasks")

spans("app.main")
thread = threading.Thread(target=spans, args=("app.thread",))
thread.start()
thread.join()
asyncio.run(tasks())

remote = trace.SpanContext(2**127 + 5, 2**63 + 7, is_remote=True)
token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(remote)))
audit("app.remote")
context.detach(token)
token = context.attach(context.set_value("something", "else"))
audit("app.no.span")
context.detach(token)
with pythonaudit.context(user="johndoe"), tracer.start_as_current_span("both"):
    audit("app.both")
    expected["app.both"] = {"user": "johndoe"} | expected["app.both"]

# What is no span of theirs is none, and is asked for nothing.
class Other(trace.NonRecordingSpan):
    def __getattribute__(self, name):
        raise SystemExit("asked")
class Half(trace.NonRecordingSpan):
    _context = property(lambda self: 1 / 0, lambda self, value: None)
class Ints(tuple):
    pass
for n, span in enumerate((Other(remote), Half(remote), object(), None, 5)):
    token = context.attach(context.Context({key: span for key in trace.set_span_in_context(
        trace.INVALID_SPAN, context.Context())}))
    sys.audit(f"app.other{n}")
    expected[f"app.other{n}"] = {}
    context.detach(token)
for n, ids in enumerate(((1,), ("a", "b"), (-1, 5), (2**128, 5), (5, 2**64), (True, 1), 7, None)):
    odd = trace.NonRecordingSpan(remote)
    odd._context = Ints(ids) if isinstance(ids, tuple) else ids
    token = context.attach(trace.set_span_in_context(odd, context.Context()))
    sys.audit(f"app.odd{n}")
    expected[f"app.odd{n}"] = {}
    context.detach(token)
bare = trace.NonRecordingSpan(remote)
del bare._context
token = context.attach(trace.set_span_in_context(bare, context.Context()))
sys.audit("app.bare")
expected["app.bare"] = {}
print(json.dumps(expected))
"""


@pytest.mark.parametrize("way", WAYS)
def test_spans(installed: Installed, way: str, fetch: Fetch) -> None:
    packages = fetch(installed.interpreter, "opentelemetry-sdk")
    recording = record(installed, way, PROGRAM, {"PYTHONPATH": packages})
    assert recording.completed.returncode == 0, recording.completed.stderr
    expected = json.loads(recording.completed.stdout)
    found = {e.event: e.context for e in recording.journal.events() if e.event.startswith("app.")}
    assert len(found) > 30
    assert found == expected
    assert is_whole(recording)


def test_each_span_costs_no_string(installed: Installed, fetch: Fetch) -> None:
    """Ids stand in the entries: as many spans as one likes do not fill the tables of strings."""
    program = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
tracer = TracerProvider().get_tracer("test")
for n in range(5000):
    with tracer.start_as_current_span("one"):
        sys.audit("app.one")
"""
    recording = installed.record(
        program, settings={"PYTHONPATH": fetch(installed.interpreter, "opentelemetry-sdk")}
    )
    events = recording.events("app.one")
    assert len({e.context["span_id"] for e in events}) == len(events) == 5000
    assert is_whole(recording)


def test_a_module_that_only_looks_like_it(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("fake")
    (place / "opentelemetry").mkdir()
    (place / "opentelemetry" / "__init__.py").write_text("")
    (place / "opentelemetry" / "context.py").write_text(
        "import sys\n"
        "class ContextVarsRuntimeContext:\n"
        "    def __getattribute__(self, name): raise SystemExit('asked')\n"
        "ContextVarsRuntimeContext.__module__ = 'opentelemetry.context.contextvars_context'\n"
        "_RUNTIME_CONTEXT = ContextVarsRuntimeContext()\n"
    )
    program = "import opentelemetry.context, sys, colorsys, wave\nsys.audit('app.one')"
    recording = installed.record(program, settings={"PYTHONPATH": place})
    (event,) = recording.events("app.one")
    assert event.context == {}
