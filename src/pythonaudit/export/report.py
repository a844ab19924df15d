"""The evidence for a period, as data: what was recorded, what was not, what became of it, and who looked at it.

    report = take_report(journal, Period(since_ns, until_ns), Asked(keys=…, limits=…))

Numbers come from the views of `query`, from the log (`sealing`) and from the verdict; nothing is written. Memory is
bounded by the number of processes; of what has no bound (names, packages, users) the most frequent are told, and
how many more there are.
"""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pythonaudit.archive.dropped import Dropped, load_dropped
from pythonaudit.archive.manifest import Archive
from pythonaudit.export.sealing import Sealing, read_sealing
from pythonaudit.export.verdict import Verdict, verdict_of
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal
from pythonaudit.query.attempts import EVENTS as SPAWNS
from pythonaudit.query.commands import NOT_RECORDED
from pythonaudit.query.connection import Connection, connect
from pythonaudit.query.ledger import build_ledger
from pythonaudit.query.programs import Programs
from pythonaudit.query.results import PartsGoneError, Result
from pythonaudit.query.rows import load
from pythonaudit.query.where import build_query, literal

MOST = 50  # rows of what has no bound
_MOST_SPAWNS = 200_000
_DAY_NS = 86_400_000_000_000
_MOST_DAYS = 400
_TRIES = 3
READ, READ_END = "pythonaudit.read", "pythonaudit.read.end"
#: Events that make, remove, rename or link objects of the file system.
OBJECTS = (
    *("os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate"),
    *("shutil.copyfile", "shutil.copytree", "shutil.make_archive", "shutil.move", "shutil.rmtree"),
    *("shutil.unpack_archive", "tempfile.mkdtemp", "tempfile.mkstemp"),
)


@dataclass(frozen=True, slots=True)
class Period:
    """From when on, and before when; nanoseconds since 1970."""

    since_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Top:
    """The most frequent of something: its columns, how often, and how many more of it there are."""

    rows: Sequence[tuple[Any, ...]] = ()
    more: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is made of besides the directory.

    Attributes:
        keys, checkpoints: anchors from outside.
        limits: of retention, in force where the configuration was read: by name, as records `setting` have them;
            None: the configuration says nothing.
        holds: that the configuration has, as records `hold` have them.
        interval_ns: how often silence is signed.
        is_elsewhere: whether checkpoints are written to another place as well.
        private: where private keys are; None: below the directory.
        without: id of the process that asks, whose own events are left out; empty: none.
        programs: PATH, in which programs are looked for.
    """

    keys: Sequence[str] = ()
    checkpoints: Sequence[str] = ()
    limits: Mapping[str, Any] | None = None
    holds: Sequence[Mapping[str, Any]] = ()
    interval_ns: int = 60_000_000_000
    is_elsewhere: bool = False
    private: Path | None = None
    without: str = ""
    programs: str = ""


@dataclass(slots=True)
class Coverage:
    """Who was recorded in the period, and who was not.

    Attributes:
        processes: that lived in it; `ended`: in order, by now; `unproved`: without a canary, so that the hook may not
            have been in. `counted`: events that they counted instead of recording them, in their whole lives.
        begun: whose recording began in the period.
        hosts: name, processes, first and last sign of life (nanoseconds).
        ways: version of the interpreter, way, processes.
        ledger: started processes by coverage; None: too many were started to judge them.
        unrecorded: time, host, command and reason of those that were not recorded.
        days: of the period. `idle`: those of which no event is kept, of its first ones.
        idle_days: how many.
    """

    processes: int = 0
    begun: int = 0
    ended: int = 0
    unproved: int = 0
    counted: int = 0
    hosts: Top = field(default_factory=Top)
    ways: Top = field(default_factory=Top)
    ledger: Counter[str] | None = field(default_factory=Counter)
    unrecorded: Top = field(default_factory=Top)
    days: int = 0
    idle: Sequence[str] = ()
    idle_days: int = 0


@dataclass(slots=True)
class Activity:
    """What was recorded in the period.

    Attributes:
        events: how many. `first_ns`, `last_ns`: time of the first and the last; None: there is none.
        named: with a user; placed: with a host; located: with the line of code that did it; aimed: with the path,
            address, command or module that it was about, or what an application said of it.
        privileged: of processes of uid 0. `own`: raised by applications.
        objects: making or removing objects of the file system.
        trail: attempts to open files of the trail itself, other than by `pythonaudit.read`; `trail_processes`: by
            how many processes.
        categories, names, packages, users: how many of each.
        notes: how many were masked, truncated, ….
    """

    events: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    named: int = 0
    placed: int = 0
    located: int = 0
    aimed: int = 0
    privileged: int = 0
    own: int = 0
    objects: int = 0
    trail: int = 0
    trail_processes: int = 0
    categories: Top = field(default_factory=Top)
    names: Top = field(default_factory=Top)
    packages: Top = field(default_factory=Top)
    users: Top = field(default_factory=Top)
    notes: Top = field(default_factory=Top)


@dataclass(slots=True)
class Access:
    """Who read the trail in the period, as recorded by the commands that read it.

    Attributes:
        readings: how many. `days`: on how many days.
        rows: command, user, how many readings, events read, first and last (nanoseconds).
    """

    readings: int = 0
    days: int = 0
    rows: Top = field(default_factory=Top)


@dataclass(frozen=True, slots=True)
class Place:
    """A directory of the trail: its name below `DIR`, mode and owner; None: it is not there."""

    name: str
    mode: int | None
    uid: int | None


@dataclass(slots=True)
class Report:
    """All of it.

    Attributes:
        directory, period: of what. `made_ns`: when it was made.
        losses: reason, processes, how much, in the segments of the period.
        oldest_ns: time of the oldest event that is kept, of any period; None: there is none.
        dropped: what retention ever removed.
        unread: what could not be read for this report; the first of it, and how much there is.
    """

    directory: Path
    period: Period
    made_ns: int
    asked: Asked
    coverage: Coverage
    activity: Activity
    losses: Top
    access: Access
    verdict: Verdict
    sealing: Sealing
    places: Sequence[Place]
    oldest_ns: int | None
    dropped: Dropped
    unread: Top


def take_report(journal: Journal, period: Period, asked: Asked, now_ns: int | None = None) -> Report:
    """Makes a report.

    Args:
        journal: with its archive.
        period: which.
        asked: what else is wanted.
        now_ns: the present; None: now.

    Raises:
        StoreError: there is no journal, or something may not be read.
        FormatError: a key or checkpoint from outside is none.
    """
    verdict = verdict_of(journal.directory, asked.keys, asked.checkpoints)
    for attempt in range(_TRIES):
        try:
            return _take(journal, period, asked, verdict, time.time_ns() if now_ns is None else now_ns)
        except PartsGoneError:
            if attempt == _TRIES - 1:
                raise
    raise AssertionError


def _take(journal: Journal, period: Period, asked: Asked, verdict: Verdict, now_ns: int) -> Report:
    wanted = EventFilter(since_ns=period.since_ns, until_ns=period.until_ns, without=asked.without)
    with connect(journal, wanted) as connection:
        connection.execute(f"CREATE TEMP VIEW asked AS {build_query(wanted, None)}")
        coverage = _coverage(connection, period, asked)
        activity = _activity(connection, journal.directory)
        access = _access(connection)
        losses = _losses(connection, journal, period, asked)
    _add_ledger(coverage, journal, wanted, asked)
    problems = [*(f"{one.path}: {one.reason}" for one in journal.damage())]
    problems += journal.archived.problems() if journal.archived else []
    archive = Archive(journal.directory)
    return Report(
        directory=journal.directory,
        period=period,
        made_ns=now_ns,
        asked=asked,
        coverage=coverage,
        activity=activity,
        losses=losses,
        access=access,
        verdict=verdict,
        sealing=read_sealing(journal.directory, period.since_ns, period.until_ns, now_ns, asked.interval_ns),
        places=_places(journal.directory, asked.private),
        oldest_ns=_oldest(archive, journal),
        dropped=load_dropped(archive),
        unread=Top([(problem,) for problem in problems[:MOST]], max(0, len(problems) - MOST)),
    )


def _row(connection: Connection, query: str) -> list[Any]:
    (row,) = Result(connection, query).rows()
    return row


def _top(connection: Connection, select: str, source: str, groups: int = 1, most: int = MOST) -> Top:
    """The most frequent, by columns of `select`, of which the first are those that are counted by."""
    numbers = ", ".join(map(str, range(1, groups + 1)))
    query = f"SELECT {select} FROM {source} GROUP BY {numbers} ORDER BY {groups + 1} DESC, {numbers}"
    rows: list[tuple[Any, ...]] = []
    more = 0
    for row in Result(connection, query).rows():
        if len(rows) < most:
            rows.append(tuple(row))
        else:
            more += 1
    return Top(rows, more)


def _lived(period: Period, asked: Asked) -> str:
    """Processes of the period."""
    mine = f" AND process <> {literal(asked.without)}" if asked.without else ""
    return f"(FROM processes WHERE begin_ns < {period.until_ns} AND end_ns >= {period.since_ns}{mine})"


def _coverage(connection: Connection, period: Period, asked: Asked) -> Coverage:
    lived = _lived(period, asked)
    processes, begun, ended, unproved, counted = _row(
        connection,
        f"""SELECT count(*), count(*) FILTER (begin_ns >= {period.since_ns}), count(*) FILTER (ended),
            count(*) FILTER (NOT canary), coalesce(sum(counted), 0)::BIGINT FROM {lived}""",
    )
    hosts = "coalesce(host, ''), count(*), min(begin_ns), max(end_ns)"
    days = max(0, -(-period.until_ns // _DAY_NS) - period.since_ns // _DAY_NS)
    found = Coverage(
        processes=processes,
        begun=begun,
        ended=ended,
        unproved=unproved,
        counted=counted,
        hosts=_top(connection, hosts, lived),
        ways=_top(connection, "coalesce(python, ''), way, count(*)", lived, 2),
        days=days,
    )
    query = f"SELECT DISTINCT (time_ns // {_DAY_NS})::BIGINT AS day FROM asked ORDER BY 1"
    busy = {day for (day,) in Result(connection, query).rows()}
    first = period.since_ns // _DAY_NS
    found.idle_days = days - len(busy)
    idle = (day for day in range(first, first + min(days, _MOST_DAYS)) if day not in busy)
    found.idle = [_date(day) for day, _ in zip(idle, range(MOST), strict=False)]
    return found


def _date(day: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(day * 86_400))


def _add_ledger(coverage: Coverage, journal: Journal, wanted: EventFilter, asked: Asked) -> None:
    """Judges what recorded processes started."""
    spawns = EventFilter(since_ns=wanted.since_ns, until_ns=wanted.until_ns, without=wanted.without, names=SPAWNS)
    with connect(journal, spawns) as connection:
        (count,) = _row(connection, f"SELECT count(*) FROM ({build_query(spawns, None)})")
    if count > _MOST_SPAWNS:
        coverage.ledger = None
        return
    processes, rows = load(journal, wanted)
    look_for = Programs(asked.programs).look_for
    forest = build_ledger(processes, rows, look_for).select(lambda _: True, wanted.since_ns, wanted.until_ns)
    nodes = [node for node in forest.walk() if node.is_selected]
    coverage.ledger = Counter(node.coverage for node in nodes)
    missing = []
    for node in nodes:
        if node.coverage == NOT_RECORDED:
            above = node.parent_process
            command = " ".join(node.attempt.command.words) if node.attempt else ""
            missing.append((node.time_ns, (above.host if above else None) or "", command, node.reason))
    coverage.unrecorded = Top(missing[:MOST], max(0, len(missing) - MOST))


def _activity(connection: Connection, directory: Path) -> Activity:
    objects = ", ".join(map(literal, OBJECTS))
    below = literal(f"{directory}/")
    numbers = _row(
        connection,
        f"""SELECT count(*), min(time_ns), max(time_ns), count("user"), count(host), count(file),
            count(*) FILTER (coalesce(path, target, address, command, module, url, template) IS NOT NULL
                OR category = 'application' AND args IS NOT NULL),
            count(*) FILTER (uid = 0), count(*) FILTER (category = 'application'), count(*) FILTER (event IN ({objects})),
            count(*) FILTER (event = 'open' AND starts_with(full_path, {below})),
            count(DISTINCT process) FILTER (event = 'open' AND starts_with(full_path, {below}))
        FROM asked""",
    )
    users = "coalesce(\"user\", ''), uid, count(*), count(DISTINCT process)"
    found = Activity(*numbers)
    found.categories = _top(connection, "category, count(*)", "asked")
    found.names = _top(connection, "coalesce(template, event), count(*)", "asked")
    found.packages = _top(connection, "coalesce(package, ''), count(*)", "asked")
    found.users = _top(connection, users, "asked", 2)
    found.notes = _top(connection, "note, count(*)", "(SELECT unnest(notes) AS note FROM asked)")
    return found


def _access(connection: Connection) -> Access:
    # How much was shown is told at the end of a reading, which is that of its process.
    source = f"""(SELECT command, reader, time_ns, CASE WHEN place = 1 THEN coalesce(events, 0) ELSE 0 END AS events
        FROM (SELECT args ->> '$[0].command' AS command, process, time_ns,
            coalesce(args ->> '$[0].user', args ->> '$[0].uid', "user", uid::VARCHAR) AS reader,
            row_number() OVER (PARTITION BY process ORDER BY time_ns) AS place
            FROM asked WHERE event = {literal(READ)})
        LEFT JOIN (SELECT process, sum(try_cast(args ->> '$[0].events' AS BIGINT)) AS events
            FROM asked WHERE event = {literal(READ_END)} GROUP BY process) USING (process))"""
    readings, days = _row(connection, f"SELECT count(*), count(DISTINCT time_ns // {_DAY_NS}) FROM {source}")
    columns = (
        "coalesce(command, ''), coalesce(reader, ''), count(*), sum(events)::BIGINT, min(time_ns), max(time_ns)"
    )
    return Access(readings, days, _top(connection, columns, source, 2))


def _losses(connection: Connection, journal: Journal, period: Period, asked: Asked) -> Top:
    """What was not recorded, by the segments of the period; and segments that are not there."""
    within = f"begin_ns < {period.until_ns} AND end_ns >= {period.since_ns}"
    query = f"""SELECT reason, count(DISTINCT process), sum(count)::BIGINT FROM (
            SELECT process, reason, (losses ->> reason)::BIGINT AS count FROM
                (SELECT process, losses, unnest(json_keys(losses)) AS reason FROM segments WHERE {within})
            UNION ALL
            SELECT process, 'damaged', list_sum((damage -> '$[*].length')::BIGINT[]) FROM segments
            WHERE damage IS NOT NULL AND {within}
        ) GROUP BY reason ORDER BY reason"""
    rows = [tuple(row) for row in Result(connection, query).rows()]
    missing = journal.missing(journal.heads())
    if missing:
        lived = {
            process for (process,) in Result(connection, f"SELECT process FROM {_lived(period, asked)}").rows()
        }
        mine = {process: count for process, count in missing.items() if process in lived}
        if mine:
            rows.append(("missing-segments", len(mine), sum(mine.values())))
    return Top(rows)


def _places(directory: Path, private: Path | None) -> list[Place]:
    places = {
        "DIR": directory,
        "journal": directory / "journal",
        "archive": directory / "archive",
        "seal": directory / "seal",
        "private keys": private or directory / "keys" / "private",
    }
    found = []
    for name, path in places.items():
        try:
            state = os.stat(path)
        except OSError:
            found.append(Place(name, None, None))
        else:
            found.append(Place(name, stat.S_IMODE(state.st_mode), state.st_uid))
    return found


def _oldest(archive: Archive, journal: Journal) -> int | None:
    """Time of the oldest event that is kept: that of its segment, where it is not archived yet."""
    begins = [part.begin_ns for entry in archive.entries() for part in entry.of("events")]
    begins += [head.header.begin_realtime for head in journal.heads()]
    return min((begin for begin in begins if begin is not None), default=None)
