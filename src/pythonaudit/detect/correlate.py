"""Correlations: rules about several matches, over a table of matches. SQL only; no input or output.

Matches are rows of a table `hits` (engine.py): `hit` numbers them in the order of time. Of a correlation come the hits
that complete it.

- A window slides: it ends at a match and reaches back over the time span, both ends included. There is one for each
  match, and matches of one nanosecond are in each other's.
- Matches with equal values of the fields of `group-by` belong together; what lacks one of them belongs nowhere.
- event_count counts events, value_count different values, the others compute with what is a number.
- temporal wants different rules in one window; temporal_ordered wants an event of each, every one after the one
  before, by time, and within a thread by its order.

Each builds on one table of what can take part, `input_query`, which also tells what an alert rests on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pythonaudit.detect.rules import Correlation, Tree
from pythonaudit.detect.sql import number_of

_AGGREGATES = {
    "value_sum": "sum({})",
    "value_avg": "avg({})",
    "value_median": "median({})",
}
_ORDER = "time_ns, process, slot, number"


def input_query(correlation: Correlation, sources: Sequence[str], places: Mapping[str, int]) -> str:
    """What can take part: a row for each match of each of the rules.

    Args:
        correlation: with the rules it refers to.
        sources: of each of these, a condition on `hits`.
        places: of fields that are grouped by or computed with: `v{place}` of `hits` holds their values.
    """
    parts = []
    for step, source in enumerate(sources):
        keys = [f"v{places[name]}" for name in correlation.group_by[step]]
        values = [f"v{places[name]}" for name in correlation.values[step]]
        columns = ["hit", "time_ns", "process", "slot", "number", f"{step} AS step"]
        columns += [f"{key} AS g{at}" for at, key in enumerate(keys)]
        columns += [f"{value} AS w{at}" for at, value in enumerate(values)]
        condition = " AND ".join([f"({source})", *(f"{key} IS NOT NULL" for key in keys)])
        parts.append(f"SELECT {', '.join(columns)} FROM hits WHERE {condition}")
    return " UNION ALL ".join(parts)


def firing_query(correlation: Correlation, table: str) -> str:
    """The numbers of the hits that complete the correlation.

    Args:
        correlation: which.
        table: with the rows of `input_query`.
    """
    groups = [f"g{at}" for at in range(len(correlation.group_by[0]))]
    partition = f"PARTITION BY {', '.join(groups)}" if groups else ""
    if correlation.type == "temporal_ordered":
        return _ordered(correlation, table, partition)
    window = f"{partition} ORDER BY time_ns RANGE BETWEEN {correlation.span_ns} PRECEDING AND CURRENT ROW"
    if correlation.tree is not None:
        measure = _tree(correlation.tree)
        return f"SELECT DISTINCT hit FROM (SELECT hit, {measure} AS is_so FROM {table} WINDOW w AS ({window})) WHERE is_so"
    if correlation.type == "temporal":
        measure, rows = "count(DISTINCT step)", table
    else:
        # An event that two of the rules match is one event.
        columns = ["hit", "time_ns", *groups, *(f"w{at}" for at in range(len(correlation.values[0])))]
        measure, rows = _measure(correlation), f"(SELECT DISTINCT {', '.join(columns)} FROM {table})"
    return (
        f"SELECT DISTINCT hit FROM (SELECT hit, {measure} OVER w AS measured FROM {rows} AS rows WINDOW w AS ({window}))"
        f" WHERE measured {correlation.operator} {correlation.count!r}"
    )


def evidence_query(correlation: Correlation, table: str, most: int) -> str:
    """For each alert, the last of the hits that it rests on.

    Args:
        correlation: which.
        table: with the rows of `input_query`; `firsts` has `alert` and `hit`, the first that completed it.
        most: so many of each.
    """
    groups = "".join(f" AND i.g{at} = f.g{at}" for at in range(len(correlation.group_by[0])))
    return (
        f"SELECT DISTINCT firsts.alert, i.hit FROM firsts JOIN {table} f ON f.hit = firsts.hit JOIN {table} i"
        f" ON i.time_ns BETWEEN f.time_ns - {correlation.span_ns} AND f.time_ns{groups}"
        f" QUALIFY dense_rank() OVER (PARTITION BY firsts.alert ORDER BY i.hit DESC) <= {most}"
    )


def _measure(correlation: Correlation) -> str:
    kind, names = correlation.type, [f"w{at}" for at in range(len(correlation.values[0]))]
    if kind == "event_count":
        return "count(*)"
    if kind == "value_count":
        whole = " AND ".join(f"{name} IS NOT NULL" for name in names)
        return f"count(DISTINCT CASE WHEN {whole} THEN [{', '.join(names)}] END)"
    number = number_of(names[0])
    if kind == "value_percentile":
        return f"quantile_cont({number}, {(correlation.percentile or 0) / 100})"
    return _AGGREGATES[kind].format(number)


def _ordered(correlation: Correlation, table: str, partition: str) -> str:
    """For each step, the latest beginning of a way to it: the way is short enough if that is not too long ago."""
    rows = f"SELECT *, dense_rank() OVER ({partition} ORDER BY {_ORDER}) AS place FROM {table}"
    rows = f"SELECT *, CASE WHEN step = 0 THEN time_ns END AS begin0 FROM ({rows})"
    last = len(correlation.rules) - 1
    before = f"{partition} ORDER BY place RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
    for step in range(1, last + 1):
        begin = f"max(begin{step - 1}) OVER ({before})"
        rows = f"SELECT *, CASE WHEN step = {step} THEN {begin} END AS begin{step} FROM ({rows})"
    return (
        f"SELECT DISTINCT hit FROM ({rows}) WHERE step = {last} AND time_ns - begin{last} <= {correlation.span_ns}"
    )


def _tree(tree: Tree) -> str:
    word, *parts = tree
    if word == "rule":
        return f"coalesce(bool_or(step = {parts[0]}) OVER w, false)"
    if word == "not":
        return f"(NOT {_tree(parts[0])})"
    return f"({f' {word.upper()} '.join(map(_tree, parts))})"


def among(number: int, without: Sequence[int] = ()) -> str:
    """A condition on `hits`: a rule matched, and none of some others."""
    terms = [f"list_contains(matched, {number})", *(f"NOT list_contains(matched, {other})" for other in without)]
    return " AND ".join(terms)
