"""The filters that all verbs share: options, and what they select from a journal.

    filters.add_arguments(parser)
    selection = filters.select(journal, args, time.time_ns())
    for event in selection.events(journal): ...

All that is given must hold; of an option given several times, one. What a process or the header of a
segment tells is asked first, so that whole segments are never read; `--where` is asked last.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pythonaudit import catalog
from pythonaudit.archive.address import BucketAddress
from pythonaudit.archive.bucket import Scope
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.reader import ArchivedSegments
from pythonaudit.cli import access
from pythonaudit.cli.ourselves import own_process
from pythonaudit.cli.times import parse_moment
from pythonaudit.errors import PythonAuditError, UsageError
from pythonaudit.journal import files, layout
from pythonaudit.journal.decode import APPLICATION, Event
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal, SegmentHead

if TYPE_CHECKING:
    from pythonaudit.query.connection import Connection

LAST = "last"
HOW_TO_RUN = "record one with 'pythonaudit run -- COMMAND'"

_RUNS_NAMED = 5
_CATEGORIES = (APPLICATION, *catalog.CATEGORIES)
_SOURCES = tuple(layout.SOURCES.values())
_NAMES = (
    *(
        "event",
        "category",
        "source",
        "since",
        "until",
        "run",
        "host",
        "process",
        "pid",
        "path",
        "package",
        "context",
    ),
    *("text", "where"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options, in a group of their own."""
    group = parser.add_argument_group(
        "filters",
        "All must hold; of an option given several times, one. Times are UTC. What this command itself "
        "raises while it reads is left out; that earlier ones have read (docs/guide/access.md) is left out too, "
        "unless --event, --process or --pid is given: --event 'pythonaudit.read*'.",
    )
    add = group.add_argument
    add("--event", action="append", type=plain, metavar="GLOB", help="name or template: 'os.*', 'User logged in*'")
    add("--category", action="append", metavar="NAME", choices=_CATEGORIES, help=", ".join(_CATEGORIES))
    add("--source", action="append", choices=_SOURCES, help="who raised it")
    add("--since", metavar="TIME", help="2026-11-22T14:30:00Z, 2026-11-22, 15m, 2d (ago) or today")
    add("--until", metavar="TIME", help="the same; the moment itself is out")
    add("--host", action="append", type=plain, metavar="GLOB", help="name of the host: 'web-*'")
    add("--run", action="append", type=plain, metavar="LABEL", help="label of 'pythonaudit run', or 'last'")
    add("--process", action="append", metavar="HEX", type=_hex, help="id of a process, or its beginning")
    add("--pid", action="append", metavar="PID", type=_number, help="process id")
    add("--path", action="append", type=plain, metavar="GLOB", help="any argument that is a path: '/etc/*'")
    add(
        "--package",
        action="append",
        type=plain,
        metavar="GLOB",
        help="distribution or project that did it: requests",
    )
    add(
        "--context",
        action="append",
        metavar="KEY=GLOB",
        type=_pair,
        help="a field of its context: 'user=john*'; given several times, all must hold",
    )
    add("--text", type=plain, metavar="TEXT", help="occurs in name, arguments or fields, in any case")
    add("--where", type=plain, metavar="SQL", help="a condition on columns: \"event = 'open' and pid > 9\"")


def given(args: argparse.Namespace) -> dict[str, Any]:
    """The filters that were given, as words."""
    found = {name: getattr(args, name) for name in _NAMES}
    if args.context:
        found["context"] = [f"{key}={glob}" for key, glob in args.context]
    return {name: value for name, value in found.items() if value is not None}


def add_reach(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how much is read at all, for verbs whose rows others choose."""
    group = parser.add_argument_group("reach", "What has nothing of these hosts or that time need not be read.")
    group.add_argument("--host", action="append", type=plain, metavar="GLOB", help="name of the host: 'web-*'")
    group.add_argument("--since", metavar="TIME", help="2026-11-22T14:30:00Z, 2026-11-22, 15m, 2d (ago) or today")
    group.add_argument("--until", metavar="TIME", help="the same")


def select_reach(args: argparse.Namespace | None, now_ns: int) -> Scope:
    """How much of a bucket has to be looked at for what is asked.

    Raises:
        UsageError: a moment cannot be read.
    """
    return Scope(
        since_ns=_moment("--since", getattr(args, "since", None), now_ns),
        until_ns=_moment("--until", getattr(args, "until", None), now_ns),
        hosts=tuple(getattr(args, "host", None) or ()),
        processes=tuple(getattr(args, "process", None) or ()),
    )


def plain(text: str) -> str:
    """A word that UTF-8 can hold: what is none is written out (`\\udcff`), as names of events have it; for argparse."""
    return text.encode("utf-8", "backslashreplace").decode()


def count(text: str) -> int:
    """What `-n` takes; for argparse."""
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: it takes a whole number from 0 on, such as 10")
    return int(text)


def further_directories() -> list[Path]:
    """Where processes of this user kept their journal in need."""
    return files.runtime_directories(os.environ.get("XDG_RUNTIME_DIR"), os.geteuid())


def open_journal(directory: Path | BucketAddress, args: argparse.Namespace | None = None) -> Journal:
    """The journal of a directory with its archive, and what processes of this user kept elsewhere in need; or all
    archives in a bucket.

    That a directory is read is recorded; of a bucket, whoever serves it records that.

    Args:
        directory: `args.dir`.
        args: what is asked, with the options of `add_arguments` or `add_reach`: no more of a bucket is looked at.

    Raises:
        UsageError: a moment cannot be read.
        StoreError: the bucket cannot be reached.
    """
    if isinstance(directory, BucketAddress):
        from pythonaudit.archive.cache import Cache, cache_directory
        from pythonaudit.archive.fleet import FleetJournal
        from pythonaudit.archive.objects import Bucket

        reach = select_reach(args, time.time_ns())
        return FleetJournal(Bucket(directory), reach, Cache(cache_directory(os.environ)))
    access.begin(directory)
    return Journal(directory, further_directories(), ArchivedSegments(Archive(directory)))


@dataclass(frozen=True, slots=True)
class Selection:
    """What the options ask for.

    Attributes:
        wanted: all filters but `--where`.
        where: the condition in SQL, or None.
    """

    wanted: EventFilter
    where: str | None = None

    def events(self, journal: Journal) -> Iterator[Event]:
        """The selected events, oldest first."""
        return journal.events(self.exact(journal))

    def tail(self, journal: Journal, count: int) -> list[Event]:
        """The last of them, oldest first."""
        return journal.tail(count, self.exact(journal))

    def follow(self, journal: Journal, last: int | None, stop: threading.Event) -> Iterator[Event]:
        """The last of them (None: all), then new ones as they come."""
        return journal.follow(self.exact(journal), stop, last)

    def exact(self, journal: Journal) -> EventFilter:
        """All that is asked. `--where` is asked of each segment when it is read, so nothing is kept of others; a
        SELECT within it sees everything, and is answered anew each time.
        """
        if self.where is None:
            return self.wanted
        from pythonaudit.query.given import Given

        return replace(self.wanted, condition=Given(journal, self.wanted).condition(self.where))

    def connect(self, journal: Journal) -> Connection:
        """A connection to the views, for `query`; parts and segments that cannot hold a wanted event are left out."""
        from pythonaudit.query.connection import check_condition, connect

        connection = connect(journal, self.wanted)
        if self.where is not None:
            check_condition(connection, self.where)
        return connection

    def query(self) -> str:
        """A SELECT of the selected rows of the view `events`.

        Raises:
            UsageError: `--where` is no condition of SQL.
        """
        from pythonaudit.query.where import build_query

        return build_query(self.wanted, self.where)


def select(journal: Journal, args: argparse.Namespace, now_ns: int) -> Selection:
    """What the options ask for.

    Args:
        journal: for `--run last`.
        args: with the options of `add_arguments`.
        now_ns: the present, nanoseconds since 1970.

    Raises:
        UsageError: a moment cannot be read, or no such run is recorded.
        PythonAuditError: `--run last`, and no run is recorded.
    """
    wanted = EventFilter(
        names=tuple(form for glob in args.event or () for form in _name_globs(glob)),
        categories=tuple(args.category or ()),
        sources=tuple(args.source or ()),
        since_ns=_moment("--since", args.since, now_ns),
        until_ns=_moment("--until", args.until, now_ns),
        runs=tuple(_run(journal, label, getattr(args, "follow", False)) for label in args.run or ()),
        hosts=tuple(args.host or ()),
        processes=tuple(args.process or ()),
        pids=tuple(args.pid or ()),
        paths=tuple(args.path or ()),
        packages=tuple(args.package or ()),
        contexts=tuple(args.context or ()),
        text=args.text,
        without=own_process(),
        without_names=() if args.event or args.process or args.pid else access.EVENTS,
    )
    return Selection(wanted, args.where)


def _run(journal: Journal, label: str, is_awaited: bool) -> str:
    """The label of a run; who follows may wait for one that is not there yet."""
    if label == LAST:
        return last_run(journal)
    runs = [] if is_awaited else find_runs(journal)
    if runs and label not in runs:
        near = difflib.get_close_matches(label, runs, n=1, cutoff=0.5)
        some = ", ".join(map(repr, runs[: -_RUNS_NAMED - 1 : -1]))
        hint = f"did you mean {near[0]!r}?" if near else f"the last are {some}"
        raise UsageError(f"--run: no run {label!r} is recorded", hint=hint)
    return label


def last_run(journal: Journal) -> str:
    """The label of the run that was begun last.

    Raises:
        PythonAuditError: no run is recorded.
    """
    runs = find_runs(journal)
    if not runs:
        raise PythonAuditError(f"no run is recorded in {journal.name}", hint=HOW_TO_RUN)
    return runs[-1]


def find_runs(journal: Journal) -> list[str]:
    """The labels of all runs, in the order in which they were begun."""
    begun: dict[str, int] = {}

    def add(label: str | None, begin_ns: int) -> None:
        if label is not None:
            begun[label] = min(begin_ns, begun.get(label, begin_ns))

    first: dict[bytes, SegmentHead] = {}
    for head in journal.heads():
        known = first.get(head.header.process)
        if known is None or head.header.sequence < known.header.sequence:
            first[head.header.process] = head
    for recorded in journal.archived.recorded() if journal.archived else ():
        add(recorded.process.run, recorded.begin_ns)
    for head in first.values():
        process = journal.process(head)
        add(process.run if process else None, head.header.begin_realtime)
    return sorted(begun, key=lambda label: (begun[label], label))


def _name_globs(glob: str) -> list[str]:
    # A template, or a whole name, is taken literally too: brackets and ? are common in messages.
    literal = re.sub(r"[\[?]", r"[\g<0>]", glob)
    return [glob] if literal == glob else [glob, literal]


def _moment(option: str, text: str | None, now_ns: int) -> int | None:
    if text is None:
        return None
    try:
        return parse_moment(text, now_ns)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise argparse.ArgumentTypeError(f"{text!r}: it takes the number of a process, such as 4711")
    return int(text)


def _hex(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{1,32}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no beginning of a process id: write hexadecimal digits")
    return text.lower()


def _pair(text: str) -> tuple[str, str]:
    key, equals, glob = plain(text).partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: it takes a field and a glob, such as user=john*")
    return key, glob
