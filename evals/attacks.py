"""How much of what is publicly known do the rules find: runs the emulations, recorded, and asks `detect`.

usage: python evals/attacks.py [--only NAME] [--jobs N] [--record-only]

Each emulation (evals/attacks/NAME) runs in a sandbox of its own (sandbox.py) under `pythonaudit run`, with the
default set of events, into a store of its own. `pythonaudit detect` then reads the store. Printed, in Markdown:

- per emulation, whether an alert of level medium or above was raised, and by which rules;
- recall, of all and by kind.

An emulation that did not raise the events its about.toml names did not do what it says: it is listed as
incomplete, and counts as missed. Rules that also fire on the controls (evals/control: a program that does nothing,
pip installing a harmless package) say nothing about an attack and do not count; they are named.

--record-only prints what was recorded instead, and does not need the verb. It measures: exit status 0, however
little was found; 2 wrong usage; 3 where no sandbox can be made.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sandbox
from emulation import ATTACKS, HERE, Emulation, load_emulations

from pythonaudit.cli import VERBS
from pythonaudit.cli.interpreters import unrecorded

CONTROLS = HERE / "control"
#: From this level on an alert counts.
LOUD = ("medium", "high", "critical")
SECONDS = 60.0
PYTHONAUDIT = (sys.executable, "-m", "pythonaudit")


@dataclass
class Result:
    """What an emulation left.

    Attributes:
        emulation: which.
        events: how many were recorded or counted, by name.
        rules: titles of those that fired at level medium or above, by id.
        problem: why this says nothing, or "".
    """

    emulation: Emulation
    events: dict[str, int] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def run_emulation(emulation: Emulation, detecting: bool) -> Result:
    """Runs one, and reads what was recorded."""
    result = Result(emulation)
    if obstacle := emulation.obstacle():
        result.problem = f"skipped: {obstacle}"
        return result
    with tempfile.TemporaryDirectory(prefix="pythonaudit-eval-") as directory:
        scratch = Path(directory).resolve()
        store = scratch / "store"
        store.mkdir()
        recorded = [*PYTHONAUDIT, "--dir", str(store), "run", "-q", "--", "{python}", "main.py"]
        command = sandbox.command(scratch, emulation.directory, SECONDS, recorded)
        done = subprocess.run(command, env=unrecorded(os.environ), capture_output=True, text=True)
        output = store / "output.txt"
        if not output.exists():
            result.problem = f"no sandbox: {last_line(done.stderr)}"
            return result
        if not (store / "journal").exists():
            result.problem = f"incomplete: nothing was recorded: {last_line(output.read_text(errors='replace'))}"
            return result
        result.events = {
            row["event"]: row["recorded"] + row["counted"] for row in ask(store, "stats", "--by", "event")
        }
        missing = [name for name in emulation.raises if name not in result.events]
        if done.returncode or missing:
            said = last_line(output.read_text(errors="replace"))
            reasons = [f"exit status {done.returncode}"] if done.returncode else []
            reasons += [f"no {name}" for name in missing]
            result.problem = f"incomplete: {', '.join([*reasons, said] if said else reasons)}"
        if detecting:
            result.rules = {row["rule"]: row["title"] for row in ask(store, "detect") if row["level"] in LOUD}
    return result


def last_line(text: str) -> str:
    """What a program said last, fit for a cell of a table."""
    return "".join(text.strip().splitlines()[-1:]).replace("|", "/")[:200]


def ask(store: Path, *words: str) -> list[dict[str, Any]]:
    """The rows that a verb prints.

    Raises:
        RuntimeError: it failed.
    """
    command = [*PYTHONAUDIT, "--dir", str(store), *words, "--format", "jsonl"]
    done = subprocess.run(command, env=unrecorded(os.environ), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def run_all(emulations: Sequence[Emulation], jobs: int, detecting: bool) -> list[Result]:
    """Runs them, `jobs` at a time; results in the order of the emulations."""
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda emulation: run_emulation(emulation, detecting), emulations))


def print_events(results: Iterable[Result]) -> None:
    """What was recorded: a table of emulations and events."""
    print("| emulation | events | names | of which expected | |\n| --- | ---: | ---: | --- | --- |")
    for result in results:
        expected = ", ".join(f"{name} {result.events.get(name, 0)}" for name in result.emulation.raises)
        total = sum(result.events.values())
        print(f"| {result.emulation.name} | {total} | {len(result.events)} | {expected} | {result.problem} |")


def print_detected(results: Sequence[Result], controls: Sequence[Result]) -> None:
    """What was found, and recall."""
    silent = {rule: (title, control) for control in controls for rule, title in control.rules.items()}
    found: list[Result] = []
    print("| emulation | kind | detected | rules |\n| --- | --- | --- | --- |")
    for result in results:
        rules = sorted(title for rule, title in result.rules.items() if rule not in silent)
        if rules and not result.problem:
            found.append(result)
        said = result.problem or ("yes" if rules else "**no**")
        print(f"| {result.emulation.name} | {result.emulation.kind} | {said} | {'; '.join(rules)} |")
    ran = [result for result in results if not result.problem.startswith("skipped")]
    print()
    for kind in (*dict.fromkeys(result.emulation.kind for result in ran), "all"):
        of = [result for result in ran if kind in ("all", result.emulation.kind)]
        hits = sum(result in found for result in of)
        print(
            f"- {kind}: {hits} of {len(of)} detected at level medium or above, recall {100 * hits / len(of):.1f} %"
        )
    for title, control in silent.values():
        print(f"- not counted: {title!r}, which fires on the control {control.emulation.name} too")
    for result in controls:
        if result.problem:
            print(f"- the control {result.emulation.name}: {result.problem}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is asked for, and prints the table."""
    parser = argparse.ArgumentParser(description="Runs the emulations of attacks, recorded, and asks detect.")
    parser.add_argument("--only", action="append", metavar="NAME", help="this one (can be repeated)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time (default: processors)")
    parser.add_argument("--record-only", action="store_true", help="print what was recorded, do not detect")
    args = parser.parse_args(arguments)
    if args.jobs < 1:
        parser.error("--jobs: at least 1")
    emulations = load_emulations(ATTACKS)
    unknown = set(args.only or ()) - {emulation.name for emulation in emulations}
    if unknown:
        parser.error(f"--only: there is no {', '.join(sorted(unknown))} in {ATTACKS}")
    emulations = [emulation for emulation in emulations if not args.only or emulation.name in args.only]
    detecting = not args.record_only
    if detecting and "detect" not in VERBS:
        parser.error("this tree has no verb detect: say --record-only")
    if obstacle := sandbox.obstacle():
        print(f"attacks.py: {obstacle}", file=sys.stderr)
        return 3
    results = run_all(emulations, args.jobs, detecting)
    broken = [result.problem for result in results if result.problem.startswith("no sandbox")]
    if broken:
        print(f"attacks.py: {broken[0]}", file=sys.stderr)
        return 3
    if detecting:
        print_detected(results, run_all(load_emulations(CONTROLS), args.jobs, detecting))
    else:
        print_events(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
