"""The process tree for people: what is known of a process in columns, and the tree last, as `ps f` has it.

    begin     end           pid   events  lost  coverage      process
    14:30:33  14:30:34      123      328     0  recorded      python3.11 app.py
    14:30:33                                    not-recorded  ├─ python3 -S job.py  (Python by its name)
    14:30:33  14:30:34      125       79     0  recorded      └─ 200 x python3.11 -c pass

On a terminal lines are cut to its width and siblings that look alike are one line, with their number; in a pipe
there is one line a process, whole. What stands above what was asked for is dimmed. `~14:30:34`: last seen then.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pythonaudit.cli import times
from pythonaudit.cli.describe import command_text
from pythonaudit.cli.render import Output, Screen, neutralise
from pythonaudit.query.attempts import ProcessRow
from pythonaudit.query.commands import NOT_PYTHON, NOT_RECORDED, UNEXPLAINED
from pythonaudit.query.forest import RECORDED, Forest, Node
from pythonaudit.query.ledger import COVERAGE

_STYLES = {RECORDED: "none", NOT_PYTHON: "dim", NOT_RECORDED: "bold red", UNEXPLAINED: "yellow"}
_LINKS = {"fork": "forked", "exec": "by exec"}
_FOLDED_FROM = 4  # siblings that look alike
_DEEPEST = 24  # levels that are drawn
_WIDTH_FOR_ALL = 130
_LEAST_COMMAND = 16
_LEAST_NOTE = 8
_GAP = 2
_COVERAGE = max(map(len, COVERAGE))


@dataclass(frozen=True, slots=True)
class _Lines:
    """What a tree is drawn with."""

    between: str
    last: str
    down: str
    times: str


_BOXES = _Lines("├─ ", "└─ ", "│  ", "\N{MULTIPLICATION SIGN}")
_ASCII = _Lines("|- ", "`- ", "|  ", "x")


@dataclass(slots=True)
class _Line:
    """A node as it is shown, with those that look alike."""

    node: Node
    branch: str
    members: Sequence[Node]


def write_table(output: Output, forest: Forest) -> None:
    """Prints the forest."""
    if not forest.roots:
        return
    screen = Screen(output.is_terminal)
    lines = _lines_for(sys.stdout.encoding)
    counts = Counter(node.coverage for node in forest.walk() if node.is_selected)
    output.write(screen.paint(", ".join(f"{counts[word]:,} {word}" for word in COVERAGE), "bold") + "\n")
    days = {times.format_date(node.time_ns) for node in forest.walk()}
    has_days = len(days) > 1
    if not has_days:
        output.write(screen.paint(f"{days.pop()} UTC", "dim") + "\n")
    table = _Table(screen, has_days)
    output.write(screen.paint(table.head(), "dim") + "\n")
    for line in _layout(forest, lines, is_folded=output.is_terminal):
        output.write(table.line(line, lines) + "\n")


def command_of(node: Node) -> str:
    """The command line of a process, or of what was to be started; empty: not known."""
    process = node.process
    if process is not None:
        return command_text([os.path.basename(process.exe or "") or "python", *process.argv])
    if node.attempt is None:
        return ""
    command = node.attempt.command
    if not command.words:
        return command.executable
    return command_text(
        [command.words[0] or command.executable or "?", *(word or "?" for word in command.words[1:])]
    )


def state_of(process: ProcessRow) -> str:
    """What is known of its end: running, ended (in order), stopped (it did not say so), or unknown."""
    if process.ended:
        return "ended"
    return {True: "running", False: "stopped", None: "unknown"}[process.running]


class _Table:
    """Columns of fixed width, then the tree."""

    def __init__(self, screen: Screen, has_days: bool) -> None:
        self._screen = screen
        self._has_days = has_days
        self._is_wide = screen.width is None or screen.width >= _WIDTH_FOR_ALL
        moment = 19 if has_days else 8
        self._widths = [moment, moment + 1, 8, 7, 7, 5] if self._is_wide else [moment, 7, 6, 4]
        self._widths.append(_COVERAGE)

    def head(self) -> str:
        """The titles."""
        titles = ["begin", "end", "python", "pid", "events", "lost"]
        cells = self._row(titles if self._is_wide else [titles[0], *titles[3:]])
        return (" " * _GAP).join([cells, f"{'coverage':<{_COVERAGE}}", "process"])

    def line(self, line: _Line, lines: _Lines) -> str:
        """One line, without its end."""
        node, paint = line.node, self._screen.paint
        style = _STYLES[node.coverage] if node.is_selected else "dim"
        command, note = neutralise(command_of(node)), _note(node)
        if not command and node.attempt is not None:
            command = f"({node.attempt.event})"
        if len(line.members) > 1:
            command = f"{len(line.members):,} {lines.times} {command}"
        if self._screen.width is not None:
            taken = sum(self._widths) + _GAP * len(self._widths) + len(line.branch)
            part = 2 if node.coverage in (NOT_RECORDED, UNEXPLAINED) else 1
            command, note = self._fit(command, note, self._screen.width - taken, part)
        cells = self._row(self._cells(line))
        parts = [
            paint(cells, "none" if node.is_selected else "dim"),
            paint(f"{node.coverage:<{_COVERAGE}}", style),
            line.branch + paint(command, style),
            paint(note, "dim"),
        ]
        return (" " * _GAP).join(part for part in parts if part)

    def _fit(self, command: str, note: str, room: int, part: int) -> tuple[str, str]:
        """Both within so many columns; the command keeps the `part`th part of them, if it needs so many."""
        columns, head = self._screen.columns, self._screen.head
        if columns(command) + _GAP + columns(note) > room:
            program, space, rest = command.partition(" ")
            command = os.path.basename(program) + space + rest
        left = max(room - min(columns(command), max(room // part, _LEAST_COMMAND)) - _GAP, 0)
        if columns(note) > left:
            note = f"{head(note, left - 1)}…" if left > _LEAST_NOTE else ""
        left = max(room - (columns(note) + _GAP if note else 0), _LEAST_COMMAND)
        if columns(command) > left:
            command = f"{head(command, left - 1)}…"
        return command, note

    def _cells(self, line: _Line) -> list[str]:
        rows = [member.process for member in line.members if member.process is not None]
        begin = self._moment(min(member.time_ns for member in line.members))
        end = python = pid = events = lost = ""
        if rows:
            last = max(rows, key=lambda row: row.end_ns)
            is_running = any(row.running for row in rows)
            end = "running" if is_running else ("" if last.ended else "~") + self._moment(last.end_ns)
            python = neutralise(rows[0].python or "")[:8]
            pid = str(rows[0].pid) if len(rows) == 1 else ""
            events, lost = f"{sum(row.events for row in rows):,}", f"{sum(row.lost for row in rows):,}"
        return [begin, end, python, pid, events, lost] if self._is_wide else [begin, pid, events, lost]

    def _moment(self, time_ns: int) -> str:
        clock = times.format_clock(time_ns)[:8]
        return f"{times.format_date(time_ns)} {clock}" if self._has_days else clock

    def _row(self, cells: Sequence[str]) -> str:
        moments = 2 if self._is_wide else 1
        fitted = (
            cell.ljust(width) if at < moments else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, self._widths, strict=False))
        )
        return (" " * _GAP).join(fitted)


def _note(node: Node) -> str:
    parts = [_LINKS.get(node.link, ""), f"via {node.via}" if node.via else "", node.reason]
    text = neutralise(", ".join(filter(None, parts)))
    return f"({text})" if text else ""


def _lines_for(encoding: str) -> _Lines:
    try:
        (_BOXES.between + _BOXES.last + _BOXES.down + _BOXES.times).encode(encoding)
    except UnicodeEncodeError:
        return _ASCII
    return _BOXES


def _layout(forest: Forest, lines: _Lines, is_folded: bool) -> Iterator[_Line]:
    """The lines in order, each with what is drawn before its command."""
    looks = _looks(forest) if is_folded else {}
    waiting = [_Line(group[0], "", group) for group in reversed(_groups(forest.roots, looks))]
    under: dict[Node, str] = {}  # what is drawn before the branches of a node's children
    while waiting:
        line = waiting.pop()
        yield line
        before = under.pop(line.node, "")
        groups = _groups(line.node.children, looks)
        found = []
        for at, group in enumerate(groups):
            is_last = at == len(groups) - 1
            if line.node.depth < _DEEPEST:
                branch = before + (lines.last if is_last else lines.between)
                under[group[0]] = before + ("   " if is_last else lines.down)
            else:
                branch, under[group[0]] = f"{before}{lines.last}({group[0].depth}) ", before
            found.append(_Line(group[0], branch, group))
        waiting += reversed(found)


def _groups(siblings: Sequence[Node], looks: dict[Node, int]) -> list[Sequence[Node]]:
    """Siblings in their order; those that look alike together, if they are many."""
    alike: dict[int, list[Node]] = {}
    for node in siblings:
        alike.setdefault(looks.get(node, -1), []).append(node)
    groups: list[Sequence[Node]] = []
    for node in siblings:
        group = alike[looks[node]] if node in looks else []
        if len(group) < _FOLDED_FROM:
            groups.append([node])
        elif group[0] is node:
            groups.append(group)
    return groups


def _looks(forest: Forest) -> dict[Node, int]:
    """A number for each node; two that look alike, with all below them, have the same."""
    numbers: dict[tuple[object, ...], int] = {}
    looks: dict[Node, int] = {}
    for node in reversed(list(forest.walk())):
        python = node.process.python if node.process else None
        below = tuple(looks[child] for child in node.children)
        look = (command_of(node), node.coverage, node.reason, node.via, python, node.is_selected, below)
        looks[node] = numbers.setdefault(look, len(numbers))
    return looks
