"""Small journals of all kinds, made by the reference writer, that several tests need.

`SAMPLES` is what tests/golden freezes; whoever adds an entry kind or a tagged form adds it here.
"""

from __future__ import annotations

from collections.abc import Callable

from pythonaudit.journal import layout
from tests.journal_writer import Frame, SegmentWriter, build_json

MAIN: list[Frame] = [("/srv/app.py", 12, "load"), ("/srv/app.py", 30, "<module>")]


def plain() -> SegmentWriter:
    """A few events of one thread."""
    writer = SegmentWriter()
    thread = writer.thread()
    for number in range(5):
        writer.ticks += 1_234_567
        thread.event("open", [f"/srv/data/{number}", "r", 524288], stack=MAIN)
        thread.event("import", ["json", None, {"$length": 5}], stack=MAIN[1:], notes=4)
    return writer


def arguments() -> SegmentWriter:
    """Each form of an argument (section 8)."""
    writer = SegmentWriter()
    thread = writer.thread()
    code = {"$code": {"file": "/srv/app.py", "name": "load", "line": 10}}
    revealed = {"$length": 9, "$hash": "a1b2c3d4e5f60718", "$text": writer.string("print(42)")}
    values = [
        None, True, False, 0, -1, (1 << 63) - 1, -(1 << 63), 1.5, 1e300, -0.0, "", "text", 'quote " back \\',
        "control \n \x01 \x7f", "emoji \U0001f40d, umlaut ü, nul \x00", [], [1, [2, [3]]], {}, {"a": {"b": [1]}},
        {"$$price": 1}, {"$bytes": "/etc/passwd"}, {"$base64": "L3RtcC//"}, {"$wtf8": "YWLtsoA="},
        {"$float": "nan"}, {"$float": "-inf"}, {"$int": "-0x1ffffffffffffffff"}, {"$int": "~2^5000"}, code,
        {"$type": "socket.socket"}, {"$length": 7}, {"$length": 7, "$hash": "a1b2c3d4e5f60718"}, revealed,
        {"$depth": 3}, [1, {"$more": 5}], {"a": 1, "$more": 5}, "***", "password=***",
    ]  # fmt: skip
    for value in values:
        thread.event("app.value", [value], source=layout.SOURCE_APPLICATION)
        thread.event("app.two", [value, "second"], source=layout.SOURCE_APPLICATION)
    thread.event("compile", [revealed, "<string>"], notes=4)
    thread.event("open", [{"$bytes": "/tmp/x"}, None, 0])
    for bit in range(len(layout.NOTES)):
        thread.event("noted", [bit], notes=1 << bit)
    return writer


def messages() -> SegmentWriter:
    """Free-form names, interned and inline."""
    writer = SegmentWriter()
    thread = writer.thread()
    names = [
        "User logged in: username=johndoe, ip=192.168.0.1",
        "no pairs",
        "quoted: a=\"x y\" b='z; w' c=plain",
        "umlaut größe=5",
        "x" * 4096,
        "",
    ]
    for name in names:
        for inline in (False, True):
            thread.event(name, [], source=layout.SOURCE_APPLICATION, inline=inline)
            thread.event(name, [{"order": 7}], source=layout.SOURCE_APPLICATION, inline=inline)
    return writer


def threads() -> SegmentWriter:
    """Threads, interpreters, a chunk that is taken over, counts, losses, attributes that change."""
    attributes = {"python": "3.12.1", "argv": ["a", "b c"], "cwd": "/srv", "host": "web-1", "run": "nightly"}
    writer = SegmentWriter(attributes=attributes, parent=b"\1" * 16, way=layout.WAY_FORK, sequence=3, canary=0)
    workers = [writer.thread(slot, tid=1000 + slot, number=slot * 100) for slot in range(3)]
    for step in range(40):
        writer.ticks += 3_000_000 + step
        workers[step % 3].event("exec", [step], stack=MAIN)
        workers[step % 3].count("builtins.id", step)
        if step == 20:
            workers[1].enter(interpreter=2)
            writer.meta(build_json({"cwd": "/srv/new"}))
    late = writer.thread(7, tid=1007)
    late.take_over(workers[0])
    late.event("open", ["/late"])
    late.count("sys._getframe", 3, layout.SOURCE_STDLIB)
    writer.losses[:7] = [1, 2, 3, 4, 5, 6, 7]
    writer.losses[15] = 15
    return writer


def clocks() -> SegmentWriter:
    """A tick that is no nanosecond, an estimate that is off, pauses, and a clock that is set back."""
    writer = SegmentWriter(hz=2_394_123_456, ticks_hz=2_400_000_000, chunk_bytes=8192)
    thread, other = writer.thread(1), writer.thread(2)
    for step in range(30):
        writer.ticks += 17 * step * step * 12_345
        thread.event("time.sleep", [step])
        if step == 15:
            writer.begin_ns -= 3600 * 10**9
            other.event("clock_settime")
    return writer


TRACE, SPAN = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736"), bytes.fromhex("00f067aa0ba902b7")


def contexts() -> SegmentWriter:
    """Contexts and spans: entered, left, of another thread, ended by an owner, and some that make no sense."""
    writer = SegmentWriter()
    first, second = writer.thread(), writer.thread(slot=2, tid=124)
    first.event("without", stack=MAIN)
    first.context({"user": "johndoe", "request": "r-17"})
    first.event("within", stack=MAIN)
    second.event("of another thread", inline=True)
    first.context({"user": "johndoe", "n": 5, "x": 1.5, "none": None, "odd": {"$float": "nan"}, "$more": 3})
    first.event("deeper", notes=1 << 9)
    first.trace(TRACE, SPAN)
    first.event("traced")
    first.context({"trace_id": "of the application"})
    first.event("its own id")
    first.context(None)
    first.event("traced alone")
    first.enter(1)
    first.event("in another interpreter")
    for text in ("[]", "{", "x" * 5000, '{"a":[1]}', '{"a":{"b":{}}}', "{}"):
        second.context(text)
        second.event("of no context")
    second.trace(TRACE, SPAN)
    second.event("traced all the same")
    second.trace(bytes(16), SPAN)
    second.event("of no trace")
    return writer


def named() -> SegmentWriter:
    """Threads with names: told late, told anew, and taken over by a thread without."""
    writer = SegmentWriter()
    first, second = writer.thread(slot=2, tid=124), writer.thread(slot=3, tid=125)
    first.event("not yet", inline=True)
    first.named("worker-1")
    first.event("named", stack=MAIN)
    first.named('caf\xe9 "2"')
    first.event("renamed", stack=MAIN)
    second.take_over(first)
    second.event("of a thread without")
    return writer


SAMPLES: dict[str, Callable[[], bytes]] = {
    "plain": lambda: plain().build(),
    "arguments": lambda: arguments().build(),
    "messages": lambda: messages().build(),
    "threads": lambda: threads().build(layout.STATE_ROTATED),
    "clocks": lambda: clocks().build(),
    "named": lambda: named().build(),
    "contexts": lambda: contexts().build(),
    # What a killed process leaves: open, and allocated further than it was used.
    "unfinished": lambda: plain().build(layout.STATE_OPEN) + bytes(131072),
}
