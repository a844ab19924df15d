"""The log source `product: python, service: audit`: what its fields are called, and where they are in the view `events`.

    >>> find_field("package.name").sql, find_field("fields.username").kind
    ('package', 'texts')

The names are those of an event's JSON, and of the columns that are made of it. docs/guide/rules.md is for writers of
rules; a test holds it to the table below. A field of the kind `texts` has any number of values: a condition holds if it
does for one of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pythonaudit.query.children import EVENTS as STARTING
from pythonaudit.query.where import literal
from pythonaudit.query.who import ACTS

TEXT, NUMBER, TEXTS, MOMENT = "text", "number", "texts", "moment"

_ARGUMENT = re.compile(r"args\.([0-9]{1,3})")
_UNSAFE = re.compile(r'["\\*\x00-\x1f\x7f]|[\ud800-\udfff]')
# Not the columns of the view with these names: it would make them of every row, whatever a condition asks before.
_STACK = "stack_frames(batch, stack_id)::JSON"
_FIELDS = "coalesce(own_fields, event_fields(event, args::VARCHAR, python)::JSON)"
_FULL = "CASE WHEN is_to_be_resolved({0}) THEN resolve_path({0}, cwd) ELSE {0} END"
_FULL_PATH, _FULL_TARGET = _FULL.format("path"), _FULL.format("target")
_FRAME = "(one ->> 'file') || ':' || coalesce(one ->> 'line', '') || ' ' || coalesce(one ->> 'function', '')"
_WRITING = ACTS["writes"].condition
_NEW_NAME = ("os.link", "os.rename", "os.symlink", "shutil.copyfile", "shutil.copytree", "shutil.move")
_MADE = ("os.mkdir", "os.truncate", "shutil.make_archive", "tempfile.mkdtemp", "tempfile.mkstemp")
_REMOVED = ("os.remove", "os.rmdir", "shutil.rmtree")

#: Events by what rules of other log sources ask for.
WRITING, REMOVING = ("open", *_NEW_NAME, *_MADE), (*_REMOVED, "os.rename", "shutil.move")
CONNECTING = ("socket.connect", "socket.sendmsg", "socket.sendto")


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Attributes:
        sql: an expression over the view `events`.
        kind: TEXT, NUMBER, TEXTS (a list of texts) or MOMENT.
        meaning: for people.
        is_shared: whether it is worth to be computed once for several rules.
    """

    sql: str
    kind: str
    meaning: str
    is_shared: bool = False


def _among(names: tuple[str, ...]) -> str:
    return f"event IN ({', '.join(map(literal, names))})"


_TEXTS_OF = {
    "event": ("event", "name of the event; of an application's message, the whole message"),
    "category": ("category", "of the catalog, or `application`"),
    "source": ("source", "who raised it: `interpreter`, `stdlib` or `application`"),
    "template": ("template", "an application's message with `*` for its values"),
    "path": ("path", "first path among the arguments, as given"),
    "target": ("target", "second one, such as the new name of a file"),
    "full_path": (_FULL_PATH, "`path` as seen from `cwd`"),
    "full_target": (_FULL_TARGET, "`target` as seen from `cwd`"),
    "address": ("address", "host, address, or path of a socket"),
    "command": ("command", "words of a command line, with spaces between"),
    "module": ("module", "module of Python that is imported or unpickled from"),
    "url": ("url", "address of the web"),
    "id": ("id", "of the event"),
    "process": ("process", "id of the process"),
    "host": ("host", "name of the host"),
    "boot": ("boot", "id of the boot"),
    "thread": ("thread", "name of the thread"),
    "run": ("run", "label of `pythonaudit run`"),
    "python": ("python", "version of the interpreter"),
    "exe": ("exe", "path of the recorded program"),
    "cwd": ("cwd", "its current directory"),
    "user": ('"user"', "who ran it"),
    "file": ("file", "of the line of code that did it: innermost frame outside the standard library"),
    "function": ("function", "of that line"),
    "frame.file": (f"({_STACK}) ->> '$[0].file'", "of the innermost frame of all"),
    "frame.function": (f"({_STACK}) ->> '$[0].function'", "of the innermost frame of all"),
    "package.name": ("package", "distribution or project whose code did it"),
    "package.version": ("version", "of it"),
}
_NUMBERS_OF = {
    "port": ("port", "of `address`"),
    "line": ("line", "of `file`"),
    "pid": ("pid", "of the process"),
    "ppid": ("ppid", "of its parent"),
    "tid": ("tid", "of the thread"),
    "interpreter": ("interpreter", "0 is the main one"),
    "uid": ("uid", "owner of the journal"),
}
_LISTS_OF = {
    "args": ("json_extract_string(args, '$[*]')", "each argument; what is no text, as JSON"),
    "argv": ("json_extract_string(argv, '$[*]')", "each word of the program's command line after the interpreter"),
    "notes": ("notes", "what was done to the event: `masked`, `truncated`, …"),
    "stack": (
        f"[{_FRAME} for one in json_extract({_STACK}, '$[*]')]",
        "each frame as `FILE:LINE FUNCTION`, innermost first",
    ),
    "stack.file": (f"json_extract_string({_STACK}, '$[*].file')", "file of each frame"),
    "stack.function": (f"json_extract_string({_STACK}, '$[*].function')", "function of each frame"),
    "child.image": (
        f"CASE WHEN {_among(STARTING)} THEN child_images(event, args::VARCHAR) END",
        "each program that is started, also by a shell that is; one without a directory is below /usr/bin",
    ),
    "child.command": (
        f"CASE WHEN {_among(STARTING)} THEN child_commands(event, args::VARCHAR) END",
        "command line of each of these",
    ),
    "file.opened": (
        f"CASE WHEN event = 'open' THEN [{_FULL_PATH}] END",
        "path of a file that is opened, in any mode",
    ),
    "file.written": (
        f"CASE WHEN event = 'open' AND {_WRITING} THEN [{_FULL_PATH}] WHEN {_among(_NEW_NAME)} THEN [{_FULL_TARGET}]"
        f" WHEN {_among(_MADE)} THEN [{_FULL_PATH}] END",
        "path of a file that is made, or opened to be written",
    ),
    "file.removed": (
        f"CASE WHEN {_among(REMOVING)} THEN [{_FULL_PATH}] END",
        "path of a file that is removed or given another name",
    ),
}

FIELDS: Mapping[str, Field] = {
    "time": Field(
        "time", MOMENT, "when; with the modifiers `minute`, `hour`, `day`, `week`, `month`, `year`, in UTC"
    ),
    **{name: Field(sql, TEXT, meaning, "->>" not in sql) for name, (sql, meaning) in _TEXTS_OF.items()},
    **{name: Field(sql, NUMBER, meaning) for name, (sql, meaning) in _NUMBERS_OF.items()},
    **{name: Field(sql, TEXTS, meaning, is_shared=True) for name, (sql, meaning) in _LISTS_OF.items()},
}
#: Fields whose names go on: `fields.username`.
OPEN = {
    "args.": "an argument by its place: `args.0`",
    "fields.": "an argument by its name, or what an application gave: `fields.username`",
    "context.": "what the application attached: `context.request`",
}
#: What a keyword is looked for in: the event's name, and its arguments as they stand in JSON.
SEARCHED = ("event", "args::VARCHAR")


def find_field(name: str) -> Field | None:
    """The field with a name; None: there is none in this log source.

    A name below `fields.` and `context.` that has dots is first a key with these dots, then a way down.
    """
    if name in FIELDS:
        return FIELDS[name]
    if _UNSAFE.search(name):
        return None
    argument = _ARGUMENT.fullmatch(name)
    if argument:
        return Field(_values("args", f"$[{int(argument[1])}]"), TEXTS, OPEN["args."], is_shared=True)
    column, dot, key = name.partition(".")
    if column not in ("fields", "context") or not dot or not key:
        return None
    whole = f'$."{key}"'
    sql = _values("said", whole)
    if "." in key:
        down = "$" + "".join(f'."{part}"' for part in key.split("."))
        sql = f"CASE WHEN json_type(said, {literal(whole)}) IS NULL THEN {_values('said', down)} ELSE {sql} END"
    said = _FIELDS if column == "fields" else column
    sql = f"([{sql} for said in [{said}]])[1]"  # made once, asked several times
    return Field(sql, TEXTS, OPEN[f"{column}."], is_shared=True)


def _values(column: str, path: str) -> str:
    """What is at a place of a column of JSON, as a list: the items of an array, else the one value."""
    at, items = literal(path), literal(path + "[*]")
    return (
        f"CASE json_type({column}, {at}) WHEN 'ARRAY' THEN json_extract_string({column}, {items})"
        f" ELSE [json_extract_string({column}, {at})] END"
    )


def value_sql(field: Field) -> str:
    """The value of a field as one text, for what is grouped by or computed with: of several values, all as JSON."""
    if field.kind != TEXTS:
        return f"({field.sql})::VARCHAR"
    values = field.sql
    many = f"WHEN len({values}) > 1 THEN to_json({values})::VARCHAR"
    return f"CASE WHEN len({values}) = 1 THEN ({values})[1] {many} END"
