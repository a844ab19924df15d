"""Differences as text: for people, for a pull request, for programs.

    FORMATS["table"](output, report, most)     # table, json, markdown
    write_rows(report, "csv")                  # the others

A table and Markdown show the first `most` of each kind and package, and say how many more there are; the other
formats have all. What events brought is neutralised; in Markdown it stands in code spans, in which nothing is
markup and nobody is mentioned.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pythonaudit.cli import tables
from pythonaudit.cli.describe import where_text
from pythonaudit.cli.render import Output, Screen, amount, json_line, neutralise
from pythonaudit.cli.sides import Recorded, Side
from pythonaudit.query.diff import Comparison, Difference

_COLUMNS = {
    **dict.fromkeys(("change", "kind", "package"), "text"),
    "versions": "texts",
    "what": "text",
    "count": "number",
    "file": "text",
    "line": "number",
    **dict.fromkeys(("function", "example", "event"), "text"),
}
_NEW, _GONE = "new", "gone"
_MARKS = {_NEW: ("+", "green"), _GONE: ("-", "red")}
_NARROWEST_WHAT = 24
_KIND_COLUMNS = 9

Change = tuple[str, Difference]


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared, and what came of it."""

    before: tuple[Side, Recorded]
    after: tuple[Side, Recorded]
    found: Comparison

    def changes(self) -> Iterator[Change]:
        """All differences, what is new first."""
        yield from ((_NEW, difference) for difference in self.found.added)
        yield from ((_GONE, difference) for difference in self.found.gone)

    def headline(self) -> str:
        """How much it is, in words."""
        added, gone = len(self.found.added), len(self.found.gone)
        return f"{added:,} new, {gone:,} gone" if added or gone else "no difference"

    def by_package(self) -> Iterator[tuple[str, str, list[Change]]]:
        """Package, its versions in words, and what differs of it, in order."""
        found: dict[str, list[Change]] = {}
        for change, difference in self.changes():
            found.setdefault(difference.act.package, []).append((change, difference))
        for package, changes in sorted(found.items()):
            yield _package_text(changes[0][1]), self._versions(package, changes), changes

    def _versions(self, package: str, changes: list[Change]) -> str:
        sides = [
            sorted(
                {
                    version
                    for act, seen in side.summary.items()
                    if act.package == package
                    for version in seen.versions
                }
            )
            for side in (self.before[1], self.after[1])
        ]
        if sides[0] == sides[1] or not all(sides):
            return ", ".join(sides[1] or sides[0])
        return f"{', '.join(sides[0])} -> {', '.join(sides[1])}"


def write_table(output: Output, report: Report, most: int) -> None:
    """For people: by package, `+` what only B did, `-` what only A did."""
    screen = Screen(output.is_terminal)
    for mark, (side, recorded) in zip("-+", (report.before, report.after), strict=True):
        output.write(screen.paint(f"{mark} {neutralise(_side_text(side, recorded))}", "dim") + "\n")
    output.write(screen.paint(report.headline(), "bold") + "\n")
    for package, versions, changes in report.by_package():
        output.write("\n" + screen.paint(neutralise(f"{package} {versions}".rstrip()), "bold") + "\n")
        for change, kind, differences, more in _cut(changes, most):
            mark, style = _MARKS[change]
            for difference in differences:
                output.write(_line(screen, mark, style, difference))
            if more:
                output.write(screen.paint(f"  {mark} {kind:<{_KIND_COLUMNS}} and {more:,} more", "dim") + "\n")
    shown = {difference.seen.package for _, difference in report.changes()}
    rest = [new for new in report.found.versions if new.package not in shown]
    if rest:
        output.write("\nother versions, nothing else\n")
        for new in rest:
            output.write(f"  {neutralise(new.package)} {', '.join(new.before)} -> {', '.join(new.after)}\n")


def _line(screen: Screen, mark: str, style: str, difference: Difference) -> str:
    act, seen = difference.act, difference.seen
    head = f"  {mark} {act.kind:<{_KIND_COLUMNS}} "
    what, count = neutralise(act.what), f"{seen.count:,}x"
    width = screen.width
    where = _where(difference, None)
    if width is not None:
        rest = max(width - len(head) - len(count) - 2, _NARROWEST_WHAT)
        where = _where(difference, max(rest // 3, 12)) if rest >= 3 * 12 + _NARROWEST_WHAT else ""
        room = rest - screen.columns(where) - 2
        what = screen.fit(what, room) if screen.columns(what) > room else what
    line = screen.paint(head + what, style) + f"  {count}"
    line += "  " + screen.paint(where, "dim") if where else ""
    if seen.example != act.what and not act.what.startswith(seen.example):
        example = neutralise(seen.example)
        if width is not None and screen.columns(example) > width - len(head) - 5:
            example = screen.fit(example, max(width - len(head) - 5, _NARROWEST_WHAT))
        line += "\n" + screen.paint(f"{'':<{len(head)}}e.g. {example}", "dim")
    return line + "\n"


def write_markdown(output: Output, report: Report, most: int) -> None:
    """For a comment on a pull request."""
    before, after = report.before, report.after
    output.write(f"### pythonaudit: {_code(before[0].name)} → {_code(after[0].name)}: {report.headline()}\n")
    for package, versions, changes in report.by_package():
        output.write(f"\n**{_code(package)}**{' ' + _code(versions) if versions else ''}\n\n")
        for change, kind, differences, more in _cut(changes, most):
            for difference in differences:
                act, seen = difference.act, difference.seen
                where = _where(difference, None)
                line = f"- {change}: {act.kind} {_code(act.what)} {seen.count:,}x"
                line += f", {_code(where)}" if where else ""
                line += f", such as {_code(seen.example)}" if seen.example != act.what else ""
                output.write(line + "\n")
            if more:
                output.write(f"- {change}: {kind} {more:,} more\n")
    if report.found.versions:
        output.write("\nVersions: ")
        texts = (
            f"{_code(new.package)} {_code(', '.join(new.before))} → {_code(', '.join(new.after))}"
            for new in report.found.versions
        )
        output.write("; ".join(texts) + "\n")
    for side, recorded in (before, after):
        if recorded.lost:
            of = f"of {_code(side.name)}"
            output.write(f"\n{amount(recorded.lost, f'event {of} was', f'events {of} were')} lost.\n")


def write_json(output: Output, report: Report, most: int) -> None:
    """One object."""
    said = {
        "before": _side(*report.before),
        "after": _side(*report.after),
        "new": [_without_none(_said(_NEW, difference)) for difference in report.found.added],
        "gone": [_without_none(_said(_GONE, difference)) for difference in report.found.gone],
        "versions": [
            {"package": new.package, "before": new.before, "after": new.after} for new in report.found.versions
        ],
    }
    output.write(json_line(said, output.is_terminal))


def write_rows(report: Report, form: str) -> None:
    """One row a difference, as `tables` writes them."""
    rows = (_said(change, difference) for change, difference in report.changes())
    tables.write_rows(_COLUMNS, rows, form)


FORMATS: Mapping[str, Callable[[Output, Report, int], None]] = {
    "table": write_table,
    "json": write_json,
    "markdown": write_markdown,
}


def _side(side: Side, recorded: Recorded) -> dict[str, Any]:
    names = {"run": side.run} if side.run is not None else {"time": side.name}
    return names | {"processes": recorded.processes, "events": recorded.events, "lost": recorded.lost}


def _without_none(said: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if value is not None}


def _said(change: str, difference: Difference) -> dict[str, Any]:
    act, seen = difference.act, difference.seen
    said: dict[str, Any] = {"change": change, "kind": act.kind, "package": seen.package or None}
    said |= {"versions": sorted(seen.versions) or None, "what": act.what, "count": seen.count}
    if seen.place is not None:
        said |= seen.place._asdict()
    return said | {"example": seen.example, "event": seen.event}


def _cut(changes: Iterable[Change], most: int) -> Iterator[tuple[str, str, list[Difference], int]]:
    """Change, kind, the first differences of these, and how many more there are."""
    for (change, kind), group in itertools.groupby(changes, lambda one: (one[0], one[1].act.kind)):
        differences = [difference for _, difference in group]
        yield change, kind, differences[:most], max(len(differences) - most, 0)


def _package_text(difference: Difference) -> str:
    named = {"": "Python itself", ".": "the project in ."}
    return named.get(difference.act.package, difference.seen.package)


def _side_text(side: Side, recorded: Recorded) -> str:
    text = f"{side.name}: {amount(recorded.processes, 'process', 'processes')}"
    text += f", {amount(recorded.events, 'event')}"
    return f"{text}, {recorded.lost:,} lost" if recorded.lost else text


def _where(difference: Difference, width: int | None) -> str:
    place = difference.seen.place
    if place is None:
        return ""
    return where_text(neutralise(place.file), place.line, neutralise(place.function), width)


def _code(text: str) -> str:
    """Text as a code span of Markdown."""
    text = neutralise(text)
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{pad}{text}{pad}{fence}"
