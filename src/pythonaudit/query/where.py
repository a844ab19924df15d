"""What is wanted (`EventFilter`), as a condition of SQL over the view `events`.

>>> build_condition(EventFilter(categories=("file",), pids=(7,)))
"category IN ('file') AND pid IN (7)"

It says the same as the filter does of an event. Texts are literals, globs regular expressions of RE2, so that
nothing that a user writes is taken for SQL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from pythonaudit.archive.typed import find_longer
from pythonaudit.journal.filters import EventFilter, normal_name

EVERYTHING = "true"

_SPECIAL = re.compile(r"[*?[]")


def build_condition(wanted: EventFilter) -> str:
    """The condition; `true` if everything is wanted."""
    conditions = list(_conditions(wanted))
    return " AND ".join(conditions) or EVERYTHING


def _conditions(wanted: EventFilter) -> Iterable[str]:
    if wanted.names:
        yield matches("event", wanted.names)
    if wanted.categories:
        yield _among("category", wanted.categories)
    if wanted.sources:
        yield _among("source", wanted.sources)
    if wanted.since_ns is not None:
        # The first prunes, the second is exact: `time` has microseconds.
        yield f"time >= make_timestamptz({wanted.since_ns // 1000}) AND time_ns >= {wanted.since_ns}"
    if wanted.until_ns is not None:
        yield f"time <= make_timestamptz({wanted.until_ns // 1000}) AND time_ns < {wanted.until_ns}"
    if wanted.runs:
        yield _among("run", wanted.runs)
    if wanted.hosts:
        yield matches("coalesce(host, '')", wanted.hosts)
    if wanted.processes:
        yield _any(f"starts_with(process, {literal(beginning)})" for beginning in wanted.processes)
    if wanted.pids:
        yield f"pid IN ({', '.join(map(str, wanted.pids))})"
    if wanted.paths:
        # Fields are made when they are asked for: few events have paths that are not in columns.
        others = f"category = 'application' OR {_among('event', find_longer())}"
        asked = literal(json.dumps(wanted.paths))
        columns = ("path", "target", "full_path", "full_target")
        yield _any(
            (
                *(matches(column, wanted.paths) for column in columns),
                f"CASE WHEN {others} THEN has_path(event, fields::VARCHAR, cwd, {asked}) END",
            )
        )
    if wanted.packages:
        globs = [normal_name(glob) for glob in wanted.packages]
        yield matches("regexp_replace(lower(package), '[-_.]+', '-', 'g')", globs)
    for key, glob in wanted.contexts:
        # A text is compared as it is, anything else as it stands in JSON.
        at = literal(_json_path(key))
        yield matches(
            f"coalesce(json_extract_string(context, {at}), json_extract(context, {at})::VARCHAR)", [glob]
        )
    if wanted.text:
        # As it stands in JSON: what is escaped there is escaped here.
        escaped = json.dumps(wanted.text.lower(), ensure_ascii=False)[1:-1]
        yield _any(
            f"contains(lower({column}), {literal(text)})"
            for column, text in (("event", wanted.text.lower()), ("args::VARCHAR", escaped))
        )
    if wanted.without:
        yield f"process <> {literal(wanted.without)}"
    if wanted.without_names:
        yield f"event NOT IN ({', '.join(map(literal, wanted.without_names))})"


def build_query(wanted: EventFilter, where: str | None) -> str:
    """A SELECT of the wanted rows of the view `events`.

    Args:
        wanted: a filter.
        where: a further condition, in the user's words.
    """
    query = f"SELECT * FROM events WHERE {build_condition(wanted)}"
    return query if where is None else f"SELECT * FROM ({query}) AS events WHERE (\n{where}\n)"


def matches(column: str, globs: Sequence[str]) -> str:
    """That a column matches one of some globs."""
    if len(globs) == 1 and not _SPECIAL.search(globs[0].removesuffix("*")):
        # A beginning, or the whole: several times as fast as an expression.
        beginning = literal(globs[0].removesuffix("*"))
        return f"starts_with({column}, {beginning})" if globs[0].endswith("*") else f"{column} = {beginning}"
    return f"regexp_full_match({column}, {literal('|'.join(map(translate, globs)))}, 's')"


def translate(glob: str) -> str:
    """A glob (`fnmatch`) as a regular expression of RE2, for a whole text."""
    found, at = "", 0
    while at < len(glob):
        char, end = glob[at], -1
        if char == "[":
            end = glob.find("]", at + 3 if glob[at + 1 : at + 2] == "!" else at + 2)
        if char == "*":
            found += ".*"
        elif char == "?":
            found += "."
        elif end > 0:
            inside = glob[at + 1 : end]
            negated = inside.startswith("!")
            body = (
                inside[negated:].replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace("^", "\\^")
            )
            found += f"[{'^' * negated}{body}]"
            at = end
        else:
            found += re.escape(char)
        at += 1
    return f"(?:{found})"


def literal(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _json_path(key: str) -> str:
    return '$."' + key.replace('"', '\\"') + '"'


def _among(column: str, texts: Sequence[str]) -> str:
    return f"{column} IN ({', '.join(map(literal, texts))})"


def _any(conditions: Iterable[str]) -> str:
    return "(" + " OR ".join(conditions) + ")"
