"""Rules over events: alerts. The same for history and for what has just come.

    engine = Engine(library, exceptions)
    alerts = engine.push(connection, "SELECT * FROM events")           # history: all at once
    alerts = engine.push(connection, "SELECT * FROM batch", now_ns)    # again and again: each time what is new

Every event is to be pushed once; one that is pushed again is not counted again. What correlations may still need is
kept: with `now_ns`, the matches of the rules they refer to that are not older than the longest time span; without,
all. A correlation is evaluated over what is kept and what is new, and gives an alert for a match that completes it
and did not before, also if that is an old one that a late event makes complete. So the alerts of events that are
pushed one by one are those of all at once (in other portions: `count` says how many are in each).

Whoever starts with a past (an agent that comes back) pushes that first, and drops the alerts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pythonaudit.detect import correlate, scan
from pythonaudit.detect.excepted import Exempt
from pythonaudit.detect.fields import find_field, value_sql
from pythonaudit.detect.library import Library
from pythonaudit.detect.rules import LEVELS, Compiled, Correlation, Rule
from pythonaudit.query.connection import Connection, open_scratch
from pythonaudit.query.results import Result

_EVENTS_OF_RULE, _EVENTS_OF_CORRELATION = 3, 10
_KEY = ("process", "slot", "number")


@dataclass(frozen=True, slots=True)
class Alert:
    """What is told of matches of one rule that belong together: of one package, one process tree, one host.

    Attributes:
        rule: which.
        count: how many matches; of a correlation, how many that complete it.
        first_ns, last_ns: when the first and the last of them was, nanoseconds since 1970.
        host: where; None: unknown.
        tree: id of the process at the root of the process tree.
        package: name and version of the distribution, as far as they are known.
        ids: of some of them: of a rule the first ones, of a correlation the last of those that completed it first.
        events: these, as far as they can be had, rows of the view `events` by column.
    """

    rule: Compiled
    count: int
    first_ns: int
    last_ns: int
    host: str | None
    tree: str
    package: tuple[str | None, str | None]
    ids: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_correlation(self) -> bool:
        """Whether it rests on several matches."""
        return isinstance(self.rule, Correlation)


class Engine:
    """Rules, and what correlations remember.

    Args:
        library: the rules.
        exceptions: what is excepted from them.
        level: rules below this one give no alerts.

    Attributes:
        excepted: how many matches each exception kept from being alerts, so far.
        span_ns: the longest time span of a correlation.
    """

    def __init__(self, library: Library, exceptions: Sequence[Exempt] = (), level: str = LEVELS[0]) -> None:
        self._library = library
        self._least = LEVELS.index(level)
        self._exceptions = list(exceptions)
        self.excepted = [0] * len(self._exceptions)
        self._places = {rule.head.id: place for place, rule in enumerate(library.rules)}
        self._single = [rule for rule in library.rules if isinstance(rule, Rule)]
        self._correlations = [rule for rule in library.rules if isinstance(rule, Correlation)]
        silent = {
            place for rule in self._correlations if not rule.generate for place in library.references[rule.head.id]
        }
        self._loud = {
            place
            for place, rule in enumerate(library.rules)
            if place not in silent and LEVELS.index(rule.head.level) >= self._least
        }
        needed = self._needed()
        self._asked, self._exempting = self._ask(needed)
        names = sorted(
            {name for rule in self._correlations for some in (*rule.group_by, *rule.values) for name in some}
        )
        self._values = {name: place for place, name in enumerate(names)}
        self._wanted = [(value_sql(found), self._needing(name)) for name in names if (found := find_field(name))]
        self.span_ns = max((rule.span_ns for rule in self._correlations), default=0)
        self._store = self._open_store()

    def _needed(self) -> set[int]:
        """Rules whose matches are asked for: those that give alerts, and what these refer to."""
        needed, waiting = set[int](), list(self._loud)
        while waiting:
            place = waiting.pop()
            if place not in needed:
                needed.add(place)
                waiting += self._library.references.get(self._library.rules[place].head.id, ())
        self._evaluated = [rule for rule in self._correlations if self._places[rule.head.id] in needed]
        return needed

    def _ask(self, needed: set[int]) -> tuple[list[Rule], dict[int, list[tuple[int, int]]]]:
        """The rules of the scan: those that are needed, then for each exception the same rules where it holds.

        Returns:
            also, for each rule, the exceptions to it with their numbers in the scan.
        """
        asked = [rule for place, rule in enumerate(self._single) if place in needed]
        self._numbers = {self._places[rule.head.id]: number for number, rule in enumerate(asked)}
        exempting: dict[int, list[tuple[int, int]]] = {}
        for which, exempt in enumerate(self._exceptions):
            place = self._places[exempt.rule]
            for base in self._bases(place):
                if base in self._numbers:
                    rule = self._single[base]
                    exempting.setdefault(place, []).append((which, len(asked)))
                    sql = f"(CASE WHEN {rule.marked} THEN {exempt.sql} ELSE false END)"
                    asked.append(Rule(rule.head, sql, rule.events, rule.gate, rule.implied))
        return asked, exempting

    def _needing(self, name: str) -> list[int]:
        """The numbers of the rules of whose matches correlations need the value of a field."""
        needing = set[int]()
        for rule in self._evaluated:
            for step, other in enumerate(self._library.references[rule.head.id]):
                if name in rule.group_by[step] or name in rule.values[step]:
                    needing |= {self._numbers[base] for base in self._bases(other)}
        return sorted(needing)

    def _bases(self, place: int) -> list[int]:
        """The rules of single events that a rule is made of."""
        references = self._library.references.get(self._library.rules[place].head.id)
        if references is None:
            return [place]
        return sorted({base for other in references for base in self._bases(other)})

    def _open_store(self) -> Connection:
        store = open_scratch({})
        values = "".join(f", v{place} VARCHAR" for place in range(len(self._values)))
        store.execute(
            "CREATE TABLE hits (hit BIGINT, time_ns BIGINT, process VARCHAR, slot BIGINT, number BIGINT, host VARCHAR,"
            f" package VARCHAR, version VARCHAR, run VARCHAR, event VARCHAR{values}, matched INTEGER[], is_new BOOLEAN)"
        )
        store.execute("CREATE TABLE reported (rule INTEGER, process VARCHAR, slot BIGINT, number BIGINT)")
        return store

    def close(self) -> None:
        """Forgets everything."""
        self._store.close()

    def push(self, connection: Connection, events: str, now_ns: int | None = None) -> list[Alert]:
        """The alerts that events give.

        Args:
            connection: where they are; its view `processes`, if it has one, tells process trees.
            events: a SELECT of rows of the view `events`, those that are new.
            now_ns: what is older than the longest time span before this moment is forgotten; None: nothing is.

        Raises:
            PythonAuditError: they cannot be read, or need more memory than there may be.
        """
        if not self._asked:
            return []
        numbers = set[int]()
        for found in scan.find_matches(connection, self._asked, events, self._wanted):
            numbers |= self._take(found)
        if not numbers:
            return []
        # In the order of time.
        self._store.execute(
            "CREATE OR REPLACE TABLE hits AS SELECT row_number() OVER (ORDER BY time_ns, process, slot, number)"
            " AS hit, * EXCLUDE (hit) FROM hits"
        )
        alerts = self._alerts(connection, self._touched(numbers))
        self._forget(now_ns)
        return alerts

    def _take(self, found: Any) -> set[int]:
        """Puts new matches to the old ones; the numbers of the rules that matched."""
        store, key = self._store, ", ".join(_KEY)
        store.register("found", found)
        names = ", ".join(("time_ns", *_KEY, "host", "package", "version", "run", "event"))
        values = "".join(f", v{place}" for place in range(len(self._values)))
        store.execute(
            f"INSERT INTO hits SELECT NULL, {names}{values}, matched, true FROM found ANTI JOIN hits USING ({key})"
        )
        numbers = {number for (number,) in store.execute("SELECT DISTINCT unnest(matched) FROM found").fetchall()}
        store.unregister("found")
        return numbers

    def _touched(self, numbers: set[int]) -> set[int]:
        """The rules that new matches can make a difference to: the others have nothing to tell.

        Args:
            numbers: of the rules that they are of.
        """
        touched = {place for place, number in self._numbers.items() if number in numbers}
        waiting = [
            self._places[rule.head.id]
            for rule in self._evaluated
            if not touched.isdisjoint(self._bases(self._places[rule.head.id]))
        ]
        while waiting:  # what these refer to is asked again as well
            place = waiting.pop()
            touched.add(place)
            waiting += self._library.references.get(self._library.rules[place].head.id, ())
        return touched

    def _alerts(self, connection: Connection, touched: set[int]) -> list[Alert]:
        store = self._store
        evaluated = [rule for rule in self._evaluated if self._places[rule.head.id] in touched]
        store.execute("CREATE OR REPLACE TEMP TABLE matches (rule INTEGER, hit BIGINT)")
        for place in sorted(self._loud & set(self._numbers) & touched):
            condition = self._source(place, self._exempting.get(place, ()))
            store.execute(f"INSERT INTO matches SELECT {place}, hit FROM hits WHERE is_new AND {condition}")
        for rule in evaluated:
            self._evaluate(rule)
        self._count_excepted()
        groups = self._group(connection)
        return self._build(connection, groups, evaluated) if groups else []

    def _source(self, place: int, exceptions: Sequence[tuple[int, int]] = ()) -> str:
        """A condition on `hits`: a rule holds of it."""
        if place in self._numbers:
            return correlate.among(self._numbers[place], [number for _, number in exceptions])
        return f"hit IN (SELECT hit FROM fired{place})"

    def _evaluate(self, rule: Correlation) -> None:
        """Which hits complete a correlation; those that did before give no alert again."""
        place, store = self._places[rule.head.id], self._store
        without = [number for _, number in self._exempting.get(place, ())]
        sources = []
        for other in self._library.references[rule.head.id]:
            own = self._exempting.get(other, ())
            terms = [self._source(other, own), *(f"NOT list_contains(matched, {number})" for number in without)]
            sources.append(" AND ".join(terms))
        query = correlate.input_query(rule, sources, self._values)
        store.execute(f"CREATE OR REPLACE TEMP TABLE input{place} AS {query}")
        store.execute(
            f"CREATE OR REPLACE TEMP TABLE fired{place} AS {correlate.firing_query(rule, f'input{place}')}"
        )
        if place not in self._loud:
            return
        key = ", ".join(_KEY)
        new = f"SELECT hit, {key} FROM hits SEMI JOIN fired{place} USING (hit)"
        known = f"SELECT {key} FROM reported WHERE rule = {place}"
        store.execute(f"INSERT INTO matches SELECT {place}, hit FROM ({new}) ANTI JOIN ({known}) USING ({key})")
        store.execute(f"INSERT INTO reported SELECT {place}, {key} FROM ({new}) ANTI JOIN ({known}) USING ({key})")

    def _count_excepted(self) -> None:
        for exceptions in self._exempting.values():
            for which, number in exceptions:
                query = f"SELECT count(*) FROM hits WHERE is_new AND list_contains(matched, {number})"
                self.excepted[which] += int(self._store.execute(query).fetchall()[0][0])

    def _group(self, connection: Connection) -> list[tuple[Any, ...]]:
        """Matches that belong together, numbered, with the hits that stand for them in `firsts`."""
        store = self._store
        processes = [
            row[0]
            for row in store.execute("SELECT DISTINCT process FROM hits SEMI JOIN matches USING (hit)").fetchall()
        ]
        if not processes:
            return []
        roots = find_roots(connection)
        store.execute("CREATE OR REPLACE TEMP TABLE trees (process VARCHAR, tree VARCHAR)")
        store.executemany("INSERT INTO trees VALUES (?, ?)", [(one, roots.get(one, one)) for one in processes])
        store.execute(
            "CREATE OR REPLACE TEMP TABLE grouped AS SELECT dense_rank() OVER (ORDER BY rule, host, tree, package, version)"
            " AS alert, * FROM matches JOIN hits USING (hit) JOIN trees USING (process)"
        )
        store.execute(
            "CREATE OR REPLACE TEMP TABLE firsts AS SELECT alert, min(hit) AS hit FROM grouped GROUP BY alert"
        )
        return store.execute(
            "SELECT alert, any_value(rule), count(*), min(time_ns), max(time_ns), any_value(host), any_value(tree),"
            " any_value(package), any_value(version) FROM grouped GROUP BY alert ORDER BY min(time_ns), alert"
        ).fetchall()

    def _build(
        self, connection: Connection, groups: Sequence[tuple[Any, ...]], evaluated: Sequence[Correlation]
    ) -> list[Alert]:
        shown = [
            f"SELECT alert, hit FROM grouped WHERE rule < {len(self._single)}"
            f" QUALIFY row_number() OVER (PARTITION BY alert ORDER BY hit) <= {_EVENTS_OF_RULE}"
        ]
        for rule in evaluated:
            place = self._places[rule.head.id]
            if place in self._loud:
                query = correlate.evidence_query(rule, f"input{place}", _EVENTS_OF_CORRELATION)
                some = f"SELECT alert FROM grouped WHERE rule = {place}"
                shown.append(f"SELECT * FROM ({query}) WHERE alert IN ({some})")
        names = ", ".join(_KEY)
        query = f"SELECT DISTINCT alert, hit, {names}, time_ns FROM ({' UNION ALL '.join(shown)}) JOIN hits USING (hit)"
        with Result(self._store, query) as result:
            wanted = result.table()
        of_alert: dict[int, list[dict[str, Any]]] = {}
        ids: dict[int, list[str]] = {}
        for row in sorted(wanted.to_pylist(), key=lambda row: int(row["hit"])):
            ids.setdefault(row["alert"], []).append(f"{row['process']}/{row['slot']}/{row['number']}")
        for alert, event in self._load(connection, wanted):
            of_alert.setdefault(alert, []).append(event)
        return [
            Alert(
                self._library.rules[place], count, first_ns, last_ns, host, tree, (package, version),
                ids.get(alert, []), of_alert.get(alert, []),
            )
            for alert, place, count, first_ns, last_ns, host, tree, package, version in groups
        ]  # fmt: skip

    def _load(self, connection: Connection, wanted: Any) -> list[tuple[int, dict[str, Any]]]:
        """The events of alerts, in order. Those of earlier batches, and what has gone meanwhile, are not there."""
        moments = [str(moment) for moment in sorted(set(wanted.column("time_ns").to_pylist()))]
        if not moments:
            return []
        # Numbers, since a condition is asked before stacks and fields are made, and a join after.
        condition = (
            f"time >= make_timestamptz({int(moments[0]) // 1000}) AND time <= make_timestamptz({int(moments[-1]) // 1000})"
            f" AND time_ns IN ({', '.join(moments)})"
        )
        connection.register("wanted_events", wanted)
        try:
            with Result(
                connection,
                f"SELECT wanted_events.alert, wanted_events.hit, e.* FROM (SELECT * FROM events WHERE {condition}) AS e"
                " JOIN wanted_events USING (process, slot, number, time_ns) ORDER BY wanted_events.alert, wanted_events.hit",
            ) as result:
                columns = result.columns
                rows = [dict(zip(columns, row, strict=True)) for row in result.rows()]
        finally:
            connection.unregister("wanted_events")
        return [(row["alert"], row) for row in rows]

    def _forget(self, now_ns: int | None) -> None:
        """Keeps what correlations can still need."""
        store = self._store
        store.execute("UPDATE hits SET is_new = false")
        bases = {base for rule in self._evaluated for base in self._bases(self._places[rule.head.id])}
        numbers = [str(self._numbers[base]) for base in sorted(bases)]
        store.execute(f"DELETE FROM hits WHERE NOT list_has_any(matched, [{', '.join(numbers)}]::INTEGER[])")
        if now_ns is not None:
            store.execute(f"DELETE FROM hits WHERE time_ns < {now_ns - self.span_ns}")
            store.execute(f"DELETE FROM reported WHERE NOT EXISTS (SELECT 1 FROM hits WHERE {_same('reported')})")


def _same(other: str) -> str:
    return " AND ".join(f"hits.{name} = {other}.{name}" for name in _KEY)


def find_roots(connection: Connection) -> Mapping[str, str]:
    """For each recorded process, the root of its tree: the recorded process above which none is known.

    Parents are those that forked, else by pid: of the processes with that pid that began before, the last.
    """
    views = connection.execute("SELECT view_name FROM duckdb_views() WHERE view_name = 'processes'").fetchall()
    if not views:
        return {}
    rows = connection.execute(
        "SELECT process, parent, boot, pid, ppid, pid_namespace, begin_ns FROM processes ORDER BY begin_ns"
    ).fetchall()
    known = {row[0] for row in rows}
    by_pid: dict[tuple[Any, ...], str] = {}
    parents: dict[str, str] = {}
    for process, parent, boot, pid, ppid, namespace, _ in rows:
        above = parent if parent in known else by_pid.get((boot, namespace, ppid))
        image_before = by_pid.get((boot, namespace, pid))
        if above is None and image_before is not None:
            above = image_before  # another program of the same process
        if above is not None and above != process:
            parents[process] = above
        by_pid[boot, namespace, pid] = process
    roots: dict[str, str] = {}
    for process in parents:
        way, at = [], process
        while at in parents and at not in roots and at not in way:
            way.append(at)
            at = parents[at]
        root = roots.get(at, at)
        roots |= dict.fromkeys(way, root)
    return roots
