"""Which events are wanted.

A filter is asked three times, from cheap to dear: of a process, of all rows of a segment at once, and of
a decoded event.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from pythonaudit.catalog import EventInfo
from pythonaudit.journal import layout
from pythonaudit.journal.contexts import Condition
from pythonaudit.journal.decode import Event, SegmentDecoder
from pythonaudit.journal.segment import Column

# Which of some rows of a segment are wanted.
RowCondition = Callable[[SegmentDecoder, Column], Column]


class Identified(Protocol):
    """What a process is known by: `Process`, and rows that were made of one."""

    @property
    def id(self) -> str:
        """Of the process, 32 hexadecimal digits."""

    @property
    def pid(self) -> int:
        """In its own namespace."""

    @property
    def run(self) -> str | None:
        """The label of its run."""

    @property
    def host(self) -> str | None:
        """Where it ran; None: unknown."""


class Begun(Protocol):
    """What a segment is known by: `Header`, and what was made of one."""

    @property
    def process(self) -> bytes:
        """The process that wrote it."""

    @property
    def pid(self) -> int:
        """Its pid."""

    @property
    def begin_realtime(self) -> int:
        """When it was begun, nanoseconds since 1970."""


@dataclass(frozen=True)
class EventFilter:
    """What is wanted: all that is given must hold; of a tuple, one of its members.

    Attributes:
        names: globs on the event's name.
        categories: of the catalog, or "application".
        sources: interpreter, stdlib, application.
        since_ns: the first instant, nanoseconds since 1970.
        until_ns: the first instant that is too late.
        runs: labels of runs.
        hosts: globs on the name of the host.
        processes: ids, or the beginnings of ids.
        pids: process ids in their own namespace.
        paths: globs on any argument that is a path or a list of them, as given or seen from the current directory.
        packages: globs on the distribution or project that did it; case, and which of `-_.` divides words, are no matter.
        contexts: a field of the context and a glob on its text or JSON; unlike the others, all must hold.
        text: occurs in the name or the arguments, in upper or lower case.
        without: id of a process that is not wanted, whatever the others say; empty: none.
        without_names: events that are not wanted, whatever the others say.
        condition: a further one on rows; it is asked last, of those that can be wanted.
    """

    names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    since_ns: int | None = None
    until_ns: int | None = None
    runs: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()
    paths: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    contexts: tuple[tuple[str, str], ...] = ()
    text: str | None = None
    without: str = ""
    without_names: tuple[str, ...] = ()
    condition: RowCondition | None = None

    def wants_segment(self, header: Begun, end_ns: int | None) -> bool:
        """Whether a segment can hold wanted events; `end_ns`: none of them is younger."""
        return (
            (self.until_ns is None or header.begin_realtime < self.until_ns)
            and (self.since_ns is None or end_ns is None or end_ns >= self.since_ns)
            and (not self.processes or header.process.hex().startswith(self.processes))
            and (not self.pids or header.pid in self.pids)
            and header.process.hex() != self.without
        )

    def wants_process(self, process: Identified) -> bool:
        """Whether events of this process can be wanted."""
        return (
            (not self.runs or process.run in self.runs)
            and (self._hosts is None or self._hosts.match(process.host or "") is not None)
            and (not self.processes or process.id.startswith(self.processes))
            and (not self.pids or process.pid in self.pids)
            and process.id != self.without
        )

    def leaves_out(self, way: str, events: int) -> bool:
        """Whether what a command of ours has recorded of itself needs no look: it is what `without_names` names.

        Args:
            way: how recording began, as the process says of itself. So that it can hide no others behind these:
            events: how many there are.
        """
        return way == layout.WAYS[layout.WAY_COMMAND] and events <= len(self.without_names)

    def mask(self, decoder: SegmentDecoder) -> Column | None:
        """Which rows of a segment can be wanted; None: all of them."""
        mask = self._cheap_mask(decoder)
        if self.condition is None:
            return mask
        rows = np.arange(len(decoder.segment.events)) if mask is None else np.flatnonzero(mask)
        found = np.zeros(len(decoder.segment.events), bool)
        if len(rows):
            found[rows] = self.condition(decoder, rows)
        return found

    def _cheap_mask(self, decoder: SegmentDecoder) -> Column | None:
        if not self.wants_process(decoder.process):
            return np.zeros(len(decoder.segment.events), bool)
        events = decoder.segment.events
        masks: list[Column] = []
        if self.since_ns is not None:
            masks.append(events.time >= self.since_ns)
        if self.until_ns is not None:
            masks.append(events.time < self.until_ns)
        if self.sources:
            numbers = [number for number, name in layout.SOURCES.items() if name in self.sources]
            masks.append(np.isin(events.source, numbers))
        if self.contexts:
            found = map(decoder.contexts.fields, range(len(decoder.segment.contexts)))
            masks.append(
                np.array([all(c.holds(fields) for c in self._contexts) for fields in found])[events.context]
            )
        if self.names or self.categories:
            known, which = np.unique(events.name, return_inverse=True)
            wanted = [self._wants_name(*_described(decoder, n)) for n in known.tolist()]
            masks.append(np.array(wanted, bool)[which] | (events.inline > 0))
        if self.without_names:
            masks += _other_names(decoder, self.without_names)
        return np.logical_and.reduce(masks) if masks else None

    def exact_mask(self, decoder: SegmentDecoder) -> Column | None:
        """Which rows of a segment are wanted; None: all of them."""
        mask = self.mask(decoder)
        if self.is_settled_by_mask:
            return mask
        rows = np.arange(len(decoder.segment.events)) if mask is None else np.flatnonzero(mask)
        wanted = np.zeros(len(decoder.segment.events), bool)
        wanted[rows] = [self.wants(event) for event in decoder.events(rows)]
        return wanted

    def wants(self, event: Event) -> bool:
        """Whether this event, whose row `mask` has let through, is wanted."""
        return (
            self._wants_name(event.event, event.category)
            and (self._paths is None or self._has_path(event))
            and (self._packages is None or self._has_package(event))
            and (self._text is None or self._has_text(event))
        )

    @property
    def asks_of_events(self) -> bool:
        """Whether something is asked of events beyond process and time."""
        return bool(self.names or self.categories or self.sources) or self.asks_of_details

    @property
    def asks_of_details(self) -> bool:
        """Whether something is asked that only recorded events tell: arguments, context, who did it, or in SQL."""
        return bool(self.paths or self.packages or self.contexts or self.text or self.condition)

    @property
    def is_settled_by_mask(self) -> bool:
        """Whether `wants` says yes to whatever `mask` lets through."""
        return not (self.names or self.categories or self.paths or self.packages or self.text)

    def _wants_name(self, name: str, category: str) -> bool:
        return (self._names is None or self._names.match(name) is not None) and (
            not self.categories or category in self.categories
        )

    def _has_path(self, event: Event) -> bool:
        assert self._paths is not None
        return any(map(self._paths.match, find_paths(event.info, event.fields, event.process.cwd)))

    def _has_package(self, event: Event) -> bool:
        assert self._packages is not None
        package = event.package
        return package is not None and self._packages.match(normal_name(package.name)) is not None

    def _has_text(self, event: Event) -> bool:
        assert self._text is not None
        parts: list[Any] = [event.event, event.fields]
        return any(self._text in text.lower() for text in _texts(parts))

    @cached_property
    def _names(self) -> re.Pattern[str] | None:
        return compile_globs(self.names)

    @cached_property
    def _hosts(self) -> re.Pattern[str] | None:
        return compile_globs(self.hosts)

    @cached_property
    def _paths(self) -> re.Pattern[str] | None:
        return compile_globs(self.paths)

    @cached_property
    def _packages(self) -> re.Pattern[str] | None:
        return compile_globs([normal_name(glob) for glob in self.packages])

    @cached_property
    def _contexts(self) -> list[Condition]:
        return [Condition(key, glob) for key, glob in self.contexts]

    @cached_property
    def _text(self) -> str | None:
        return self.text.lower() if self.text else None


def normal_name(name: str) -> str:
    """The name of a distribution as it is compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def compile_globs(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """What matches one of some globs; None: there are none."""
    return re.compile("|".join(map(fnmatch.translate, patterns))) if patterns else None


def _other_names(decoder: SegmentDecoder, names: Sequence[str]) -> Iterator[Column]:
    """Which events of a segment have none of these names; nothing: all of them."""
    segment, events = decoder.segment, decoder.segment.events
    numbers = segment.find_texts(names)
    if numbers:
        yield ~np.isin(events.name, numbers)
    # A process that has raised too many names writes each further one with its event.
    lengths = [len(name.encode()) for name in names]
    inline = np.flatnonzero(np.isin(events.inline, lengths)).tolist() if events.inline.any() else []
    if inline:
        others = np.ones(len(events), bool)
        others[inline] = [event.event not in names for event in decoder.events(np.array(inline))]
        yield others


def _described(decoder: SegmentDecoder, name_id: int) -> tuple[str, str]:
    name = decoder.name(name_id)
    return name.text, name.category


def find_paths(info: EventInfo | None, fields: Mapping[str, Any], cwd: str | None) -> list[str]:
    """All paths of an event: as given, and as seen from the current directory.

    Args:
        info: the catalog's entry, or None: it is an application's.
        fields: of the event.
        cwd: of its process.
    """
    names = info.path_args if info else ("path",)
    given = [path for name in names for path in _strings(fields.get(name))]
    return given + [os.path.normpath(os.path.join(cwd, path)) for path in given if cwd]


def _strings(value: Any) -> list[str]:
    """A path, or those of a list."""
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]


def _texts(value: Any) -> list[str]:
    """All text in a value: keys, strings, numbers as they are written."""
    if isinstance(value, dict):
        return [str(key) for key in value] + _texts(list(value.values()))
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [str(value)]
