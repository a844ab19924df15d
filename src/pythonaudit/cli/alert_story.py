"""An alert on one screen: what its rule says, the events with code, package and context, the processes above them."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pythonaudit.archive.address import BucketAddress
from pythonaudit.cli.describe import describe_args, where_text
from pythonaudit.cli.render import Output, Screen, json_text, neutralise
from pythonaudit.errors import PythonAuditError
from pythonaudit.journal.decode import Event, format_time
from pythonaudit.journal.filters import EventFilter
from pythonaudit.journal.reader import Journal

if TYPE_CHECKING:
    from pythonaudit.detect.trail import Told

_FRAMES = 8
_WIDTH = 100


def write_story(directory: Path | BucketAddress, journal: Journal, told: Told) -> None:
    """Prints it.

    Args:
        directory: where the user's own rules are.
        journal: where its events are.
    """
    output = Output()
    screen = Screen(output.is_terminal)
    style = "bold red" if told.level in ("high", "critical") else "bold"
    output.write(screen.paint(f"{told.level}: {neutralise(told.title)}", style) + "\n\n")
    for name, text in _facts(told):
        output.write(f"{name:<11} {neutralise(text)}\n")
    for line in _rule(directory, told):
        output.write(neutralise(line) + "\n")
    events = _events(journal, told)
    output.write("\n" + screen.paint("events", "bold") + "\n")
    for event in events:
        output.write("".join(f"{line}\n" for line in _lines(event)))
    missing = len(told.events) - len(events)
    if missing:
        output.write(f"  {missing} more cannot be read any more\n")
    output.write("\n" + screen.paint("processes", "bold") + "\n")
    for line in _processes(journal, told, events):
        output.write(neutralise(line) + "\n")
    output.flush()


def _facts(told: Told) -> Iterator[tuple[str, str]]:
    yield "alert", told.id
    if told.techniques:
        yield "techniques", ", ".join(told.techniques)
    yield "matches", f"{told.count:,}, {told.first} to {told.last}"
    if told.host:
        yield "host", told.host
    if told.package:
        yield "package", " ".join(filter(None, (told.package.get("name"), told.package.get("version"))))
    if told.closed is not None:
        yield "closed", f"{told.closed_at} by {told.closed_by}: {told.closed}"


def _rule(directory: Path | BucketAddress, told: Told) -> Iterator[str]:
    """What the rule says of itself, if it is still there."""
    said = _find_rule(directory, told.rule)
    if said is None:
        yield f"rule        {told.rule}, which is not there any more"
        return
    yield f"rule        {told.rule}"
    description = " ".join(str(said.get("description", "")).split())
    yield from textwrap.wrap(description, _WIDTH, initial_indent=" " * 12, subsequent_indent=" " * 12)
    harmless = said.get("falsepositives")
    for number, text in enumerate(harmless if isinstance(harmless, list) else ()):
        yield f"{'harmless if' if not number else '':<11} {text}"
    references = said.get("references")
    for number, text in enumerate(references if isinstance(references, list) else ()):
        yield f"{'see' if not number else '':<11} {text}"


def _find_rule(directory: Path | BucketAddress, rule: str) -> Any:
    from pythonaudit.detect.documents import parse_documents
    from pythonaudit.detect.library import OURS, load_library, read_file

    try:
        library = load_library(directory if isinstance(directory, Path) else OURS.parent)
        for one in library.rules:
            if one.head.id == rule:
                documents = parse_documents(read_file(Path(one.head.file)), one.head.file)
                return next((doc.content for doc in documents if doc.content.get("id") == rule), None)
    except PythonAuditError:
        return None
    return None


def _events(journal: Journal, told: Told) -> list[Event]:
    processes = tuple({one.partition("/")[0] for one in told.events})
    if not processes:
        return []
    wanted = set(told.events)
    return [event for event in journal.events(EventFilter(processes=processes)) if event.id in wanted]


def _lines(event: Event) -> Iterator[str]:
    values = event.values
    said = describe_args(event.name_values(values), values, event.info)
    time = format_time(event.time_ns).decode()[11:23]
    yield f"  {time} {neutralise(f'{event.event} {said}'.rstrip())}"
    package = event.package
    if package is not None:
        yield f"    {'package':<8} {neutralise(' '.join(filter(None, (package.name, package.version))))}"
    if event.context:
        yield f"    {'context':<8} {neutralise(json_text(event.context))}"
    stack = event.stack
    for number, (file, line, function) in enumerate(stack[:_FRAMES]):
        yield f"    {'code' if not number else '':<8} {neutralise(where_text(file, line, function))}"
    if len(stack) > _FRAMES:
        yield f"    {'':<8} and {len(stack) - _FRAMES} more frames"


def _processes(journal: Journal, told: Told, events: Sequence[Event]) -> Iterator[str]:
    """The processes of these events, each below those above it."""
    from pythonaudit.cli.tree_table import command_of
    from pythonaudit.query.ledger import build_ledger
    from pythonaudit.query.programs import Programs
    from pythonaudit.query.rows import load

    ids = {event.process.id for event in events} or {told.process}
    processes, spawns = load(journal, EventFilter())
    forest = build_ledger(processes, spawns, Programs(os.environ.get("PATH", os.defpath)).look_for)
    forest = forest.select(lambda row: row.id in ids, None, None)
    shown: set[int] = set()
    for node in forest.walk():
        if node.process is None or node.process.id not in ids:
            continue
        way = [node]
        while way[-1].parent is not None:
            way.append(way[-1].parent)
        for above in reversed(way):
            if id(above) not in shown:
                shown.add(id(above))
                pid = f"[{above.process.pid}] " if above.process is not None else ""
                mark = "*" if above is node else " "
                yield f"  {mark} {'  ' * above.depth}{pid}{command_of(above)}"
