r"""An event to a message of RFC 5424.

    <109>1 2026-11-22T14:30:33.123456Z web-1 pythonaudit 123 open
        [pythonaudit@32473 id="4f…/3/42" event="open" path="/etc/passwd" …] BOM open ["/etc/passwd","r",524288]

(one line). docs/guide/syslog.md says what each part holds. 32473 is the enterprise number that RFC 5612 sets aside for
documentation: pythonaudit has none of its own.

Whatever is in an event, it is one message, and on one line: a text that has a control character (a line separator of
Unicode is one, too) or begins with a quotation mark is written as a JSON string in ASCII, which reads back equal.

A message longer than the limit keeps parameters in their order as far as they fit, the frames of its stack last, and
the beginning of its text; it says how many are left out (`omitted`), and how many bytes of text (`cut`).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from pythonaudit.archive.typed import find_places, pick
from pythonaudit.export.kept import Kept
from pythonaudit.export.levels import level_of
from pythonaudit.journal.decode import Event, SegmentDecoder, Thread
from pythonaudit.journal.packages import Package
from pythonaudit.journal.process import Process

#: What every receiver must take, and the most that fits into a datagram.
LIMIT_MIN, LIMIT_MAX = 480, 65507

SD_ID = "pythonaudit@32473"
APP_NAME = "pythonaudit"

_NIL = "-"
_OPEN = b"[" + SD_ID.encode()
_CLOSE = b"] \xef\xbb\xbf"  # and the mark of UTF-8
_MARK = "…".encode()
_TEXT_SHARE = 4  # of what is free in a message that is too long, one part is for its text
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NOT_PRINTUSASCII = re.compile(r"[^!-~]")
_ESCAPED = re.compile(r'(["\\\]])')
_HOST_MAX, _MSGID_MAX = 255, 32


class Part(NamedTuple):
    """Parameters that come together: whole, and one by one for messages that are too long."""

    whole: bytes
    params: tuple[bytes, ...]


class Encoder:
    """Makes messages of events.

    Args:
        facility: 0 to 23.
        limit: of a message, in bytes.
    """

    def __init__(self, facility: int, limit: int) -> None:
        self._facility, self._limit = facility, limit
        self._segments: WeakKeyDictionary[SegmentDecoder, _Pieces] = WeakKeyDictionary()

    def messages(self, events: Iterable[Event]) -> Iterator[bytes]:
        """One message an event, in order."""
        decoder, pieces = None, None
        for event in events:
            if pieces is None or event.decoder is not decoder:
                decoder = event.decoder
                pieces = self._segments.get(decoder)
                if pieces is None:
                    pieces = self._segments[decoder] = _Pieces(event, self._facility)
            head, parts, text = pieces.message(event)
            whole = b"".join((head, _OPEN, *[part.whole for part in parts], _CLOSE, text))
            yield whole if len(whole) <= self._limit else self._cut(head, parts, text)

    def _cut(self, head: bytes, parts: Sequence[Part], text: bytes) -> bytes:
        """The same within the limit."""
        params = [param for part in parts for param in part.params]
        marks = b' omitted="%d" cut="%d"' % (len(params), len(text))
        free = self._limit - len(head) - len(_OPEN) - len(_CLOSE) - len(marks)
        reserved = min(len(text), free // _TEXT_SHARE)
        kept = []
        for param in params:
            if len(param) <= free - reserved:
                kept.append(param)
                free -= len(param)
        if len(kept) < len(params):
            kept.append(b' omitted="%d"' % (len(params) - len(kept)))
        if len(text) > free:
            shown = text[: max(0, free - len(_MARK))].decode("utf-8", "ignore").encode()
            kept.append(b' cut="%d"' % (len(text) - len(shown)))
            text = shown + _MARK
        return b"".join((head, _OPEN, *kept, _CLOSE, text))


class _Pieces:
    """What messages of one segment are made of.

    Args:
        event: one of it.
        facility: 0 to 23.
    """

    def __init__(self, event: Event, facility: int) -> None:
        process = event.process
        self._facility = facility
        self._from = f"{_host(process.host)} {APP_NAME} {process.pid} ".encode()
        self._who = _part(_who(process))
        self._process = _part(_process(process))
        self._names: Kept[tuple[bytes, bytes, Part, bytes]] = Kept()
        self._said: Kept[tuple[Part, bytes]] = Kept()
        self._stacks: Kept[tuple[Part, Part]] = Kept()
        self._threads: Kept[Part] = Kept()
        self._contexts: Kept[Part] = Kept()
        self._packages: list[Part] = []
        self._package_of: list[int] | None = None

    def message(self, event: Event) -> tuple[bytes, Sequence[Part], bytes]:
        """What stands before parameters, these, and the text. Parameters are ordered by what is kept longest."""
        name, source, args, thread = event.event, event.source, event.args, event.thread
        stack, context, bits = event.stack_id, event.context_id, event.note_bits
        if self._package_of is None:
            known = event.decoder.attribution
            self._package_of = known.rows.tolist()
            self._packages = [_part(_package(package)) for package in known.packages]
        named = self._names.get((name, source)) or self._add_name(event)
        said = self._said.get((name, args)) or self._add_said(event)
        trail = self._stacks.get(stack) or self._add_stack(event)
        by = self._threads.get(thread)
        if by is None:
            by = self._threads.keep(thread, _part(_thread(thread)), 0)
        within = self._contexts.get((context, bits))
        if within is None:
            within = _part(_within(event))
            self._contexts.keep((context, bits), within, len(within.whole))
        id_ = b' id="%s/%d/%d"' % (thread.process.id.encode(), thread.slot, event.number)
        package = self._packages[self._package_of[event.row]]
        parts = (Part(id_, (id_,)), named[2], said[0], self._who, trail[0], package, within, by)
        head = b"".join((named[0], _timestamp(event.time_ns), self._from, named[1]))
        return head, (*parts, self._process, trail[1]), named[3] + said[1]

    def _add_name(self, event: Event) -> tuple[bytes, bytes, Part, bytes]:
        priority = b"<%d>1 " % (self._facility * 8 + level_of(event.info).syslog)
        said = {"event": event.event, "category": event.category, "source": event.source}
        found = priority, _msgid(event).encode(), _part({**said, "template": event.template}), plain(event.event)
        made = (*found[:3], found[3].encode())
        return self._names.keep((event.event, event.source), made, 4 * len(made[3]))

    def _add_said(self, event: Event) -> tuple[Part, bytes]:
        values = event.values
        acts: dict[str, Any] = {}
        places = find_places(event.event, len(values), event.process.python_version) if event.info else None
        if places is not None:
            acts = pick(places, values)._asdict()
        made = _part(acts), b" " + _arguments(event, values).encode() if values else b""
        return self._said.keep((event.event, event.args), made, 2 * len(made[0].whole) + len(made[1]))

    def _add_stack(self, event: Event) -> tuple[Part, Part]:
        file, line, function = event.code_frame or (None, 0, None)
        code = _part({"code-file": file, "code-line": line or None, "code-function": function})
        frames = [_param("frame", f"{file}:{line} {function}") for file, line, function in event.stack]
        trail = Part(b"".join(frames), tuple(frames))
        return self._stacks.keep(event.stack_id, (code, trail), 2 * len(code.whole + trail.whole))


def plain(text: str) -> str:
    """A text without control characters, as the manual says."""
    if _CONTROLS.search(text) or text.startswith('"'):
        return _one_line(json.dumps(text))
    return text


def _one_line(text: str) -> str:
    """JSON without control characters: those that JSON allows as they are can only be in its strings."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _arguments(event: Event, values: list[Any]) -> str:
    if b'"$text":' in event.args or b"\n" in event.args or b"\r" in event.args or b"\t" in event.args:
        return _one_line(_json(values))
    return _one_line(event.args.decode("utf-8", "replace"))


def _who(process: Process) -> dict[str, Any]:
    return {"user": process.user, "uid": process.uid}


def _process(process: Process) -> dict[str, Any]:
    return {
        "run": process.run,
        "exe": process.exe,
        "argv": _json(process.argv) if process.argv else None,
        "cwd": process.cwd,
        "python": process.python,
        "ppid": process.ppid,
        "process": process.id,
        "parent": process.parent,
        "boot": process.boot or None,
    }


def _thread(thread: Thread) -> dict[str, Any]:
    return {"tid": thread.tid, "thread": thread.name, "interpreter": thread.interpreter or None}


def _package(package: Package | None) -> dict[str, Any]:
    return {"package": package.name, "package-version": package.version} if package else {}


def _within(event: Event) -> dict[str, Any]:
    context, notes = event.context, event.notes
    return {"context": _json(context) if context else None, "notes": ",".join(notes) or None}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _part(said: Mapping[str, Any]) -> Part:
    params = tuple(_param(name, str(value)) for name, value in said.items() if value is not None)
    return Part(b"".join(params), params)


def _param(name: str, text: str) -> bytes:
    text = plain(text)
    if _ESCAPED.search(text):
        text = _ESCAPED.sub(r"\\\1", text)
    return b' %s="%s"' % (name.encode(), text.encode())


def _timestamp(time_ns: int) -> bytes:
    second, rest = divmod(time_ns, 1_000_000_000)
    return b"%s.%06dZ " % (_second(second), rest // 1000)


@lru_cache(maxsize=64)
def _second(second: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()


@lru_cache(maxsize=64)
def _host(name: str | None) -> str:
    return _NOT_PRINTUSASCII.sub("?", (name or "")[:_HOST_MAX]) or _NIL


def _msgid(event: Event) -> str:
    """What kind of message it is: the event's name, where that is a word; else its category."""
    name = event.event
    fits = 0 < len(name) <= _MSGID_MAX and name != _NIL and not _NOT_PRINTUSASCII.search(name)
    return f"{name} " if fits else f"{event.category} "
