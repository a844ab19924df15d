"""What `diff` compares: two sides, each a run or a stretch of time, and what was recorded of it.

    a, b = find_sides(journal, args, ("last~1", "last"), now_ns)
    summary = read_side(journal, a, directory_is_dot=True)

A side is written as the label of a run, `last`, `last~N` (the Nth before the last), or `FROM..UNTIL`, moments as
`--since` takes them (times.py); without FROM from the beginning, without UNTIL to the present.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pythonaudit.cli import filters
from pythonaudit.cli.render import amount
from pythonaudit.cli.times import format_moment, parse_moment
from pythonaudit.errors import UsageError
from pythonaudit.journal import layout
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal
from pythonaudit.query.behaviour import find_temporary, load
from pythonaudit.query.connection import Connection
from pythonaudit.query.diff import Summary, summarise
from pythonaudit.query.generalise import Places
from pythonaudit.query.where import build_query, literal

_LAST = re.compile(r"last(?:~(\d{1,9}))?")
_LOSSES = ", ".join(map(literal, sorted({*layout.EVENT_LOSSES, "damaged"})))


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two.

    Attributes:
        name: as it is shown.
        run: the label, or None: a stretch of time.
        selection: its events.
    """

    name: str
    run: str | None
    selection: filters.Selection


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is recorded of a side.

    Attributes:
        summary: its acts.
        processes: how many.
        lost: events of these processes that are missing, whatever the filters.
    """

    summary: Summary
    processes: int
    lost: int

    @property
    def events(self) -> int:
        """How many were compared."""
        return sum(seen.count for seen in self.summary.values())


def find_sides(journal: Journal, args: argparse.Namespace, texts: Sequence[str], now_ns: int) -> list[Side]:
    """The sides that are meant.

    Args:
        journal: where the runs are.
        args: with the options of `filters.add_arguments`, which hold for each side.
        texts: what the user wrote.
        now_ns: the present.

    Raises:
        UsageError: no such run, or no such moment.
        StoreError: there is no journal.
    """
    common = filters.select(journal, args, now_ns)
    runs = filters.find_runs(journal)
    return [_find(text, runs, common, now_ns) for text in texts]


def _find(text: str, runs: Sequence[str], common: filters.Selection, now_ns: int) -> Side:
    label = _label(text, runs)
    wanted = common.wanted
    if label is not None:
        if wanted.runs:
            raise UsageError(f"--run, and {text!r} is a run: --run narrows down stretches of time, FROM..UNTIL")
        return Side(label, label, replace(common, wanted=replace(wanted, runs=(label,))))
    first, dots, last = text.partition("..")
    if not dots or text == "..":
        near = difflib.get_close_matches(text, runs, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else "runs are labels of 'pythonaudit run'; or FROM..UNTIL"
        raise UsageError(f"no run {text!r} is recorded", hint=hint)
    try:
        since = parse_moment(first, now_ns) if first else None
        until = parse_moment(last, now_ns) if last else now_ns
    except ValueError as error:
        raise UsageError(f"{text}: {error}") from None
    if since is not None and since >= until:
        raise UsageError(f"{text}: it ends before it begins", hint="write the earlier moment first, as 2h..1h")
    since = max((moment for moment in (since, wanted.since_ns) if moment is not None), default=None)
    until = min(until, wanted.until_ns) if wanted.until_ns is not None else until
    name = f"{'' if since is None else format_moment(since, 3)}..{format_moment(until, 3)}"
    return Side(name, None, replace(common, wanted=replace(wanted, since_ns=since, until_ns=until)))


def _label(text: str, runs: Sequence[str]) -> str | None:
    """The label that is meant; None: it is none that is recorded."""
    match = _LAST.fullmatch(text)
    if match is None or (text != filters.LAST and text in runs):
        return text if text in runs else None
    back = int(match[1] or 0)
    if back >= len(runs):
        raise UsageError(f"{text}: {amount(len(runs), 'run is', 'runs are')} recorded", hint=filters.HOW_TO_RUN)
    return runs[-1 - back]


def read_side(journal: Journal, side: Side, directory_is_dot: bool) -> Recorded:
    """Reads what is recorded of a side.

    Args:
        journal: of it.
        side: of `find_sides`.
        directory_is_dot: whether the directory in which its run was begun is `.`.
    """
    with side.selection.connect(journal) as connection:
        places, processes = _places(connection, side, directory_is_dot)
        lost = connection.execute(
            f"SELECT coalesce(sum(count), 0)::BIGINT FROM losses WHERE reason IN ({_LOSSES})"
            f" AND process IN (SELECT process FROM processes WHERE {_of_side(side)})"
        ).fetchall()[0][0]
        summary = summarise(load(connection, side.selection.query(), places))
    return Recorded(summary, processes, int(lost))


def _places(connection: Connection, side: Side, directory_is_dot: bool) -> tuple[Places, int]:
    directory, prefixes, count = connection.execute(
        "SELECT arg_min(cwd, begin_ns), list(DISTINCT attributes ->> 'prefix'), count(*)"
        f" FROM processes WHERE {_of_side(side)}"
    ).fetchall()[0]
    known = tuple(sorted(prefix for prefix in prefixes or () if prefix))
    wanted = side.selection.wanted
    whole = EventFilter(
        runs=wanted.runs, since_ns=wanted.since_ns, until_ns=wanted.until_ns, without=wanted.without
    )
    temporary, made = find_temporary(connection, build_query(whole, None))
    return Places(directory if directory_is_dot else None, known, temporary, made), int(count)


def _of_side(side: Side) -> str:
    """The processes of a side, as a condition on the view `processes`."""
    wanted = side.selection.wanted
    conditions = [f"process <> {literal(wanted.without)}"]
    if wanted.runs:
        conditions.append(f"run IN ({', '.join(map(literal, wanted.runs))})")
    if wanted.since_ns is not None:
        conditions.append(f"end_ns >= {wanted.since_ns}")
    if wanted.until_ns is not None:
        conditions.append(f"begin_ns < {wanted.until_ns}")
    return " AND ".join(conditions)
