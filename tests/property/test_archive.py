"""What was ingested reads as it did before: every line of every event, processes, counts and losses."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pythonaudit.archive.compact import compact
from pythonaudit.archive.manifest import Archive
from pythonaudit.journal import layout
from pythonaudit.journal.reader import Journal
from pythonaudit.journal.survey import Survey
from tests import journals
from tests.archives import DAY_NS, archived_journal, lines, move, process_of, segments
from tests.journal_writer import BEGIN_NS, SegmentWriter

texts = st.text(st.characters(codec="utf-8"), max_size=20)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(), texts)
tagged = st.one_of(
    st.builds(lambda text: {"$bytes": text}, texts),
    st.sampled_from([{"$base64": "L3RtcC//"}, {"$wtf8": "YWLtsoA="}, {"$type": "socket.socket"}, {"$length": 7}]),
)
values = st.recursive(
    scalars | tagged,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
).filter(lambda value: "NaN" not in repr(value) and "nan" not in repr(value) and "inf" not in repr(value))
names = st.one_of(
    st.sampled_from(
        ["open", "os.rename", "socket.connect", "subprocess.Popen", "import", "urllib.Request", "compile", "exec"]
    ),
    texts,
    st.builds(lambda user: f"login: user={user}", texts),
)
frames = st.tuples(
    st.sampled_from(["app.py", "/usr/lib/python3.11/os.py", "<frozen x>", ""]), st.integers(0, 9), texts
)
events = st.fixed_dictionaries(
    {
        "name": names,
        "args": st.lists(values, max_size=4),
        "stack": st.lists(frames, max_size=5),
        "source": st.integers(0, 4),
        "notes": st.integers(0, 0xFFFF),
        "inline": st.booleans(),
    }
)
hosts = st.sampled_from(
    [None, "", "web-1", "a/b", "..", "x=y", "ü" * 100, "h" * 300, "__HIVE_DEFAULT_PARTITION__"]
)


@st.composite
def segments_of(draw: st.DrawFn) -> SegmentWriter:
    process, sequence = draw(st.integers(1, 3)), draw(st.integers(0, 3))
    host = draw(hosts)
    attributes: dict[str, Any] = {"python": draw(st.sampled_from(["3.11.7", "3.13.0", "?"])), "cwd": draw(texts)}
    if host is not None:
        attributes["host"] = host
    writer = SegmentWriter(
        process=process_of(process),
        sequence=sequence,
        begin_ns=BEGIN_NS + draw(st.integers(-2, 2)) * DAY_NS // 2 + sequence,
        attributes=attributes,
        drained=draw(st.integers(0, 4)),
    )
    threads = [writer.thread(slot, number=sequence * 100) for slot in (1, 2)]
    for event in draw(st.lists(events, max_size=6)):
        writer.ticks += draw(st.sampled_from([0, 1, 999, DAY_NS // 3]))
        threads[draw(st.integers(0, 1))].event(event.pop("name"), event.pop("args"), **event)
    if draw(st.booleans()):
        threads[0].count("builtins.id", draw(st.integers(0, (1 << 32) - 1)), draw(st.integers(0, 4)))
        writer.losses[draw(st.integers(0, 15))] = draw(st.integers(0, (1 << 64) - 1))
    return writer


def said(survey: Survey) -> tuple[Any, ...]:
    """What a survey tells, but for when damage was found."""
    losses = {
        (one.process, one.reason, one.event, one.count, one.reason != "damaged" and one.time_ns)
        for one in survey.losses
    }
    counts = {(one.process.id, one.event, one.source, one.count) for one in survey.counts}
    return survey.trails, counts, losses


def check_moved(directory: Path, batch_bytes: int, same: Callable[[Survey], Any] = said) -> None:
    journal = Journal(directory)
    before, survey = lines(journal), journal.survey()
    move(directory, batch_bytes)
    journal = archived_journal(directory)
    assert lines(journal) == before
    assert same(journal.survey()) == same(survey)
    archive = Archive(directory)
    compact(archive)
    assert archive.problems() == []
    assert lines(archived_journal(directory)) == before
    assert same(archived_journal(directory).survey()) == same(survey)


@given(st.lists(segments_of(), min_size=1, max_size=6), st.sampled_from([1, 20_000, 64 << 20]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_archived_events_read_as_before(writers: list[SegmentWriter], batch_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        for writer in {(w.header["process"], w.header["sequence"]): w for w in writers}.values():
            writer.save(directory)
        check_moved(directory, batch_bytes)
        assert segments(directory) == []


places = st.tuples(st.integers(0, 1 << 17), st.binary(min_size=1, max_size=8))


@given(
    st.sampled_from(["plain", "arguments", "messages", "threads", "clocks"]),
    st.lists(places, min_size=1, max_size=6),
)
@settings(max_examples=60, deadline=None)
def test_damage_costs_the_damaged_part(name: str, changes: list[tuple[int, bytes]]) -> None:
    """Whatever is done to a segment, ingest keeps of it what a reader of the journal sees."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        writer: SegmentWriter = getattr(journals, name)()
        path = writer.save(directory)
        data = bytearray(path.read_bytes())
        for at, new in changes:
            at = max(at % len(data), 256)  # behind what tells whether its process lives
            data[at : at + len(new)] = new
        path.write_bytes(data)
        check_moved(directory, 64 << 20, lambda survey: [trail.events for trail in survey.trails])


@given(st.binary(max_size=64), st.integers(8, 255))
@settings(max_examples=50, deadline=None)
def test_any_header(new: bytes, at: int) -> None:
    """Nothing in a header makes ingest fail; what it takes reads as before."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        path = journals.threads().save(directory, state=layout.STATE_ROTATED)
        data = bytearray(path.read_bytes())
        data[at : at + len(new)] = new
        path.write_bytes(data[: len(data)])
        before = lines(Journal(directory))
        move(directory)
        assert lines(archived_journal(directory)) == before
