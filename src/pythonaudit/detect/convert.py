"""Rules in other words: the SQL that is asked, and queries of other systems by their own backends of pySigma."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pythonaudit.detect import correlate
from pythonaudit.detect.library import Library, read_file
from pythonaudit.detect.rules import Compiled, Rule
from pythonaudit.errors import RuleError, UnsupportedError


def sql_of(library: Library, rule: Compiled) -> str:
    """A SELECT of the events that a rule matches; of a correlation, what is asked of the matches of its rules."""
    if isinstance(rule, Rule):
        return f"SELECT * FROM events WHERE {rule.sql}"
    names = sorted({name for some in (*rule.group_by, *rule.values) for name in some})
    places = {name: place for place, name in enumerate(names)}
    titles = [library.rules[place].head.title for place in library.references[rule.head.id]]
    sources = [f"rule = '{title.replace(chr(39), chr(39) * 2)}'" for title in titles]
    values = "".join(f"\n-- v{place}: {name}" for name, place in places.items())
    return (
        f"-- hits: the matches of {', '.join(titles)}, numbered in the order of time{values}\n"
        f"WITH matches AS ({correlate.input_query(rule, sources, places)})\n"
        f"{correlate.firing_query(rule, 'matches')}"
    )


def convert_with(name: str, file: Path) -> list[str]:
    """The rules of a file as queries of another system.

    Args:
        name: of a backend of pySigma, such as `splunk`.
        file: the rules. Their fields keep their names: what the other system calls them, its pipeline says.

    Raises:
        UnsupportedError: no such backend is installed.
        RuleError: it cannot express the rules.
    """
    from sigma.collection import SigmaCollection
    from sigma.plugins import InstalledSigmaPlugins

    backends = InstalledSigmaPlugins.autodiscover().backends
    if name not in backends:
        known = ", ".join(["sql", "sigma", *sorted(backends)])
        raise UnsupportedError(f"no backend {name!r} of pySigma is installed", hint=f"there are: {known}")
    try:
        make: Any = backends[name]
        found = make().convert(SigmaCollection.from_yaml(read_file(file)))
    except Exception as error:  # somebody else's program: whatever it raises is the reason
        raise RuleError(f"{file}: {name} cannot express it: {' '.join(str(error).split())}") from None
    return [str(query) for query in (found if isinstance(found, list) else [found])]
