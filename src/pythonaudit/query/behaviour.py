"""What processes did, as rows that can be compared: one for each kind of act, what it was done to, and by whom.

    for row in load(connection, selection.query(), Places(...)):
        row.kind, row.package, row.what      # ('reads', 'requests', '~/.netrc')

DuckDB groups the events (any number of them); what is distinct comes here and is generalised (generalise.py).
`KINDS` says which event is of which kind. Not looked at, since another event tells it:

- what the import system does to get at a module: its files, byte code, directories and `exec` (`imports` tells);
- what `shutil.rmtree` does below the directory that it removes, and the files by which `tempfile` tries where it
  can write;
- files given by a descriptor: whoever opened it has told the path.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pythonaudit import catalog
from pythonaudit.query.connection import Connection
from pythonaudit.query.generalise import (
    Places,
    generalise_address,
    generalise_command,
    generalise_path,
    generalise_text,
    generalise_url,
    name_made,
)
from pythonaudit.query.results import Result
from pythonaudit.query.where import literal
from pythonaudit.query.who import ACTS, WRITING

# In the order in which they are shown, with what they are.
KINDS: Mapping[str, str] = {
    "connects": "connects or sends to a host and port",
    "resolves": "looks up a host",
    "listens": "binds a socket",
    "runs": "starts a program, or becomes one",
    "writes": "opens a file to write, or creates, changes, renames or removes it; opens a database",
    "reads": "opens a file to read, lists a directory, looks at attributes",
    "loads": "loads a native library",
    "unpickles": "lets a pickle name a class or function",
    "evals": "compiles or runs code made at run time",
    "imports": "imports a module",
    "says": "raises an event of its own, by template",
    "does": "any other event of CPython, by its name",
}


class Place(NamedTuple):
    """A line of code."""

    file: str
    line: int
    function: str


@dataclass(frozen=True, slots=True)
class Row:
    """What was done to one thing by one line of code.

    Attributes:
        kind: a key of `KINDS`.
        package: a distribution or project; `.`: code in the directory of the run; a directory: code that is of
            neither; empty: the interpreter and the standard library alone.
        version: of the distribution, or None.
        what: generalised.
        literal: the same, had a number that is the id of its process been left as it is.
        count: how many events.
        example: the same, as it was once.
        event: id of the event of the example.
    """

    kind: str
    package: str
    version: str | None
    what: str
    literal: str
    count: int
    place: Place | None
    example: str
    event: str


def load(connection: Connection, events: str, places: Places) -> Iterator[Row]:
    """The rows, by when each was first; one thing may come in several.

    Args:
        connection: to the views.
        events: a SELECT of the events that are looked at.
        places: what is where.
    """
    owners: dict[tuple[str | None, bool, str | None], str] = {}
    for values in Result(connection, build_query(events), "--where").rows():
        kind, what, target, port, asked, package, version, file, line, function, count, was, was_target, event = (
            values
        )
        place = Place(file, line or 0, function or "") if file else None
        owner = owners.get((package, version is None, file))
        if owner is None:
            owner = owners[package, version is None, file] = _owner(package, version, file, places)
        general = _generalise(kind, what, target, port, asked, place, places)
        literal = general if was == what else _generalise(kind, was, was_target, port, asked, place, places)
        example = was + (f":{port}" if port is not None else "") + (f" ({asked})" if asked else "")
        example += f" -> {was_target}" if was_target else ""
        yield Row(kind, owner, version, general, literal, count, place, example, event)


def _generalise(
    kind: str,
    what: str,
    target: str | None,
    port: int | None,
    asked: str | None,
    place: Place | None,
    places: Places,
) -> str:
    """What an act was done to, without what varies."""
    if kind in ("connects", "listens") and not what.startswith("/"):
        return generalise_url(what) if "://" in what else generalise_address(what, port, asked)
    if kind in ("connects", "listens", "reads", "loads"):
        return generalise_path(what, places)
    if kind == "writes":
        general = generalise_path(what, places)
        return f"{general} -> {generalise_path(target, places)}" if target else general
    if kind == "evals":
        general = generalise_path(what, places)
        if place and what.startswith("<"):  # a name that many share: who made it tells them apart
            general += f" in {generalise_path(place.file, places)} {place.function}".rstrip()
        return general
    if kind == "runs":
        return generalise_command(what, places)
    return generalise_text(what) if kind == "says" else what


def find_temporary(connection: Connection, process_events: str) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """What `tempfile` chose and made up, for `Places.temporary` and `Places.made`.

    Args:
        connection: to the views.
        process_events: a SELECT of all events of the processes that are looked at.
    """
    names = Result(
        connection,
        f"SELECT DISTINCT regexp_extract(path, '[^/]*$') AS name FROM ({process_events})"
        f" WHERE path IS NOT NULL AND {_among(['tempfile.mkstemp', 'tempfile.mkdtemp'])}",
    )
    made = {name: general for (name,) in names.rows() if (general := name_made(name)) is not None}
    # It writes a file to find out whether it can, and removes it if it could.
    directories = Result(
        connection,
        "SELECT DISTINCT regexp_extract(tried.full_path, '^(.*)/[^/]*$', 1)"
        f" FROM (SELECT * FROM ({process_events}) WHERE event = 'os.remove') AS tried JOIN stacks USING (batch, stack_id)"
        " WHERE stacks.library AND stacks.function LIKE '%_get_default_tempdir'",
    )
    return tuple(sorted(directory for (directory,) in directories.rows() if directory)), made


def _owner(package: str | None, version: str | None, file: str | None, places: Places) -> str:
    """A package by a name that is the same wherever a run is begun, and whether or not its code is still there."""
    place = places.locate(file)[0] if file and file.startswith("/") else "<stdlib>"
    if version is None and place == ".":
        return "."
    if package:
        return generalise_text(package)
    return "" if place == "<stdlib>" or not file else generalise_path(os.path.dirname(file), places)


def build_query(events: str) -> str:
    """The SELECT behind `load`.

    Args:
        events: a SELECT of the events that are looked at.
    """
    return f"""
    WITH chosen AS NOT MATERIALIZED (SELECT {_COLUMNS} FROM ({events})),
    looked AS (
        SELECT chosen.*, NULL::VARCHAR AS asked FROM chosen WHERE event <> 'socket.connect'
        UNION ALL
        SELECT * EXCLUDE (before), CASE
            WHEN before.name <> address AND before.port = port AND before.file IS NOT DISTINCT FROM file
                AND before.function IS NOT DISTINCT FROM function THEN before.name
            END AS asked
        FROM (
            SELECT *, last_value(CASE WHEN event = 'socket.getaddrinfo'
                THEN {{'name': address, 'port': port, 'file': file, 'function': function}} END IGNORE NULLS)
                OVER (PARTITION BY process, slot ORDER BY number) AS before
            FROM chosen WHERE event IN ('socket.connect', 'socket.getaddrinfo')
        )
        WHERE event = 'socket.connect'
    ),
    told AS (
        SELECT looked.*, {_KIND} AS kind
        FROM looked LEFT JOIN (
            SELECT batch, stack_id, file AS inner_file, function AS inner_function, library AS inner_library
            FROM stacks
        ) AS inner_frames USING (batch, stack_id)
        WHERE NOT coalesce({_NOISE}, false)
    ),
    named AS (
        SELECT *, {_WHAT} AS was, {_TARGET} AS was_target,
            CASE WHEN kind IN ('connects', 'listens') THEN port END AS its_port
        FROM told WHERE kind IS NOT NULL
    )
    SELECT * EXCLUDE (first), first.was, first.was_target, first.id
    FROM (
        SELECT kind, {_own_pid("was")} AS what, {_own_pid("was_target")} AS target, its_port AS port, asked,
            package, version, file, line, function, count(*) AS count,
            arg_min({{'was': was, 'was_target': was_target, 'id': id, 'time_ns': time_ns}}, time_ns) AS first
        FROM named WHERE was IS NOT NULL GROUP BY ALL
    )
    ORDER BY first.time_ns, first.id
    """


_COLUMNS = (
    "event, category, template, args, path, full_path, full_target, address, port, command, module, url, id,"
    " time_ns, process, slot, number, host, pid, batch, stack_id, file, line, function, package, version"
)


def _among(names: tuple[str, ...] | list[str]) -> str:
    return f"event IN ({', '.join(map(literal, names))})"


def _own_pid(text: str) -> str:
    """A text with the number of its own process taken out, where it stands alone and is long enough to mean it."""
    pid = "pid::VARCHAR"
    form = f"'(^|[^0-9])' || {pid} || '([^0-9]|$)'"
    return f"(CASE WHEN pid > 99 AND contains({text}, {pid}) THEN {_OWN.format(text, form)} ELSE {text} END)"


_OWN = r"regexp_replace({}, {}, '\1<pid>\2', 'g')"

_FILE_EVENTS = [name for name, info in catalog.events().items() if info.category == "file"]
_DESCRIPTOR = "regexp_matches(args::VARCHAR, '^\\[-?[0-9]')"
_IMPORTER = "(inner_file LIKE '<frozen importlib.%' OR inner_file = '<frozen zipimport>')"
_MODULE_FILE = "regexp_matches(path, '\\.(py|pyc|pyd|so|egg|whl|zip)(\\.[0-9]+)?$|(^|/)__pycache__$')"

_NOISE = f"""(
    ({_IMPORTER} AND ({_among(["exec", "compile", "marshal.loads", "code.__new__", "os.listdir"])}
        OR ({_among(_FILE_EVENTS)} AND {_MODULE_FILE})))
    OR (inner_library AND inner_file LIKE '%/shutil.py' AND event <> 'shutil.rmtree'
        AND regexp_matches(inner_function, '(^|\\.)_rmtree_'))
    OR (inner_library AND inner_file LIKE '%/tempfile.py' AND inner_function LIKE '%_get_default_tempdir')
    OR ({_among(_FILE_EVENTS)} AND {_DESCRIPTOR})
)"""

_CODE = "coalesce(path, args ->> '$[0].\"$code\".file', args ->> '$[0].file')"
_KIND = f"""CASE
    WHEN category = 'application' THEN 'says'
    WHEN event = 'import' AND path LIKE '%.so' THEN 'loads'
    WHEN event = 'ctypes.dlopen' THEN 'loads'
    WHEN {_among(ACTS["imports"].events)} THEN 'imports'
    WHEN {_among(ACTS["unpickles"].events)} THEN 'unpickles'
    WHEN event = 'compile' AND NOT coalesce(starts_with({_CODE}, '<'), false) THEN NULL
    WHEN {_among(["compile", "exec"])} THEN 'evals'
    WHEN {_among([*WRITING, "open"])} AND {ACTS["writes"].condition} THEN 'writes'
    WHEN event = 'sqlite3.connect' THEN 'writes'
    WHEN {_among(_FILE_EVENTS)} AND path IS NOT NULL THEN 'reads'
    WHEN {_among(ACTS["runs"].events)} THEN 'runs'
    WHEN event = 'socket.bind' THEN 'listens'
    WHEN {_among(ACTS["connects"].events)} AND (address IS NOT NULL OR url IS NOT NULL) THEN 'connects'
    WHEN {_among(ACTS["resolves"].events)} AND address IS NOT NULL THEN 'resolves'
    ELSE 'does'
END"""


def _below_descriptor() -> str:
    """The path of a file that is told from a directory's descriptor: what directory that is nobody says."""
    cases = []
    for name in _FILE_EVENTS:
        arguments = catalog.events()[name].args
        at = [number for number, argument in enumerate(arguments) if argument.endswith("dir_fd")]
        if at:
            cases.append(f"WHEN event = {literal(name)} AND (args ->> {at[0]}) <> '-1' THEN '<fd>/' || path")
    return " ".join(cases)


_PATH = f"""CASE
    WHEN starts_with(path, '/') THEN full_path
    {_below_descriptor()}
    ELSE full_path
END"""
_WHAT = f"""(CASE kind
    WHEN 'says' THEN coalesce(template, event)
    WHEN 'loads' THEN CASE WHEN contains(path, '/') THEN full_path ELSE path END
    WHEN 'imports' THEN coalesce(module, path)
    WHEN 'unpickles' THEN {ACTS["unpickles"].shown}
    WHEN 'evals' THEN {_CODE}
    WHEN 'writes' THEN {_PATH}
    WHEN 'reads' THEN {_PATH}
    WHEN 'runs' THEN {ACTS["runs"].shown}
    WHEN 'connects' THEN coalesce(url, address)
    WHEN 'resolves' THEN CASE WHEN address = host THEN '<host>' ELSE address END
    WHEN 'listens' THEN coalesce(address, '')
    ELSE CASE WHEN event IN ('os.putenv', 'os.unsetenv') THEN event || ' ' || (args ->> 0) ELSE event END
END)"""
_TARGET = "(CASE WHEN kind = 'writes' THEN full_target END)"
