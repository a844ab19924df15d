"""The catalog: what is known of each audit event of CPython, 3.10 to 3.15.

`events.json` is the source of truth, read by people and programs alike: one block an event, sorted
by name. `gaps.json` tells what raises no event (see `gaps.py`). From them come the recorder's table
(`native/event_table.h`) and `docs/coverage.md`, both written by `python -m
pythonaudit.catalog.generate`, and the answers of this module:

    >>> from pythonaudit import catalog
    >>> info = catalog.lookup("os.rename")
    >>> info.args, info.category, info.attack
    (('src', 'dst', 'src_dir_fd', 'dst_dir_fd'), 'file', ('T1036.003',))
    >>> catalog.argument_names("shutil.rmtree", 1, (3, 10))
    ('path',)
    >>> catalog.lookup("User logged in: username=johndoe") is None
    True

An event is an attempt: CPython raises it before it acts, and says nothing of the result.

A block of `events.json`; what has nothing to say is left out:
    category      one of CATEGORIES
    platform      where CPython raises it, one of PLATFORMS
    args          the name of each argument, in order, and the rule by which the recorder writes it
                  (ARG_RULES). Names are CPython's: documented ones, else those of its source
    args_in       versions that pass other arguments: by version, the names in order
    path_args, address_args, command_args
                  which of them hold a path (or a key of the registry), an address, a command
                  (or what runs: a module, a symbol)
    mode          what the recorder does by default, one of MODES
    mode_stdlib   the same when the standard library or the import system raises it, where it differs
    security      in the set `security` of PYTHONAUDIT_EVENTS
    attack        MITRE ATT&CK techniques that it can show; a hint, never a verdict
    ocsf          OCSF class and activity (OCSF 1.8; class 0: none fits)
    ecs           Elastic Common Schema event.category and event.type
    raised        versions that raise it: "3.10+", "3.12-3.13", "3.11", "" for none
    inferred      those of them in which it was not seen in source, binary or run: either it is
                  documented, or the source of a neighbouring version has it
    documented    versions whose documentation names it
    note          what surprises

Three rules that the data follow:
- Arguments. What identifies the act is kept: paths, addresses, commands, module names. What may
  hold a secret, and what is bulk, has a rule that masks it or keeps it out. Of a live object (a
  socket, a frame, a function) only the type is written.
- Modes. An event is counted only where it says nothing of what a program does: `builtins.id` and
  `object.__getattr__` always; unmarshalling, frame peeking, setting attributes, hooks of event loops
  and sleeping when the standard library does it. What shows an act that matters is recorded.
- The set `security`. An event is in it that can by itself show a process started or signalled, the
  network or a name service used, code run, imported, deserialised or entered natively, memory mapped
  or read past the type system, a file opened or changed, the environment or the registry changed, a
  database opened, or the means of watching touched (hooks, tracing, debuggers, log masks, the graph
  of objects). Not in it is what only looks round (directory listings, globs, attributes read),
  waits, locks, makes a temporary name, logs, reads what was typed or reports an exception.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

CATEGORIES = (
    "code-execution", "database", "debug", "deserialization", "dns", "environment", "exception",
    "file", "host", "import", "input", "interpreter-lifecycle", "introspection", "ipc", "logging",
    "memory", "native", "network", "package", "process", "registry", "thread",
)  # fmt: skip

PLATFORMS = ("all", "posix", "linux", "macos/bsd", "windows")

# In the order of enum pa_arg_rule (native/event_table.h, which says what each does).
ARG_RULES = (
    "value", "path", "command", "code", "bulk", "env_key", "env_value", "env", "http", "headers",
    "url", "sql", "input", "line", "length", "object", "secret",
)  # fmt: skip

# In the order of PA_MODE_* (native/policy.h).
MODES = ("off", "count", "record")


@dataclass(frozen=True, slots=True)
class EventInfo:
    """One event of CPython, as `events.json` describes it (see the module's manual)."""

    name: str
    args: tuple[str, ...]
    category: str
    arg_rules: tuple[str, ...]
    path_args: tuple[str, ...]
    address_args: tuple[str, ...]
    command_args: tuple[str, ...]
    mode: str
    mode_stdlib: str
    security: bool
    attack: tuple[str, ...]
    ocsf_class: int
    ocsf_activity: int
    ecs_category: str
    ecs_type: str
    platform: str
    raised: tuple[str, ...]
    inferred: tuple[str, ...]
    documented: tuple[str, ...]
    note: str


def lookup(name: str) -> EventInfo | None:
    """The entry of an event name; None if it is no event of CPython."""
    return events().get(name)


@cache
def events() -> Mapping[str, EventInfo]:
    """All known events by name, sorted."""
    return MappingProxyType({name: _build(name, block) for name, block in _data()["events"].items()})


def versions() -> tuple[str, ...]:
    """The Python versions that the catalog covers, oldest first, such as `"3.10"`."""
    return tuple(_data()["versions"])


@lru_cache(maxsize=4096)
def argument_names(name: str, count: int, python: tuple[int, int] | None) -> tuple[str, ...]:
    """Names for the `count` arguments of an event, as the given Python version passes them.

    With `python` None, as the latest version does. An argument without a known name, as each one
    of an event that is not in the catalog, is called `arg0`, `arg1`, ... after its position.
    """
    block = _data()["events"].get(name, {})
    names = tuple(block.get("args", ()))
    if python is not None and "args_in" in block:
        names = tuple(block["args_in"].get("{}.{}".format(*python), names))
    return names[:count] + tuple(f"arg{position}" for position in range(len(names), count))


@cache
def parse_span(text: str) -> tuple[str, ...]:
    """`"3.10+"`, `"3.10-3.12"`, `"3.10"` or `""` to the versions that it covers.

    Raises ValueError for a version that the catalog does not cover.
    """
    if not text:
        return ()
    known = versions()
    first, _, last = text.rstrip("+").partition("-")
    last = known[-1] if text.endswith("+") else last or first
    if first not in known or last not in known:
        raise ValueError(f"{text!r} is no span of the versions {known[0]} to {known[-1]}")
    return known[known.index(first) : known.index(last) + 1]


@cache
def _data() -> dict[str, Any]:
    text = Path(__file__).with_name("events.json").read_text("utf-8")
    data: dict[str, Any] = json.loads(text)
    return data


def _build(name: str, block: dict[str, Any]) -> EventInfo:
    return EventInfo(
        name=name,
        args=tuple(block["args"]),
        category=block["category"],
        arg_rules=tuple(block["args"].values()),
        path_args=tuple(block.get("path_args", ())),
        address_args=tuple(block.get("address_args", ())),
        command_args=tuple(block.get("command_args", ())),
        mode=block["mode"],
        mode_stdlib=block.get("mode_stdlib", block["mode"]),
        security=block.get("security", False),
        attack=tuple(block.get("attack", ())),
        ocsf_class=block["ocsf"][0],
        ocsf_activity=block["ocsf"][1],
        ecs_category=block["ecs"][0],
        ecs_type=block["ecs"][1],
        platform=block["platform"],
        raised=parse_span(block["raised"]),
        inferred=tuple(block.get("inferred", ())),
        documented=parse_span(block["documented"]),
        note=block.get("note", ""),
    )
