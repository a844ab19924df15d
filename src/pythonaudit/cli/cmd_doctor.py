"""`pythonaudit doctor`: whether recording works here, line by line, and how to mend what does not.

It starts a real child of this interpreter twice, by site and by preload, each recorded with the
settings in force; looks at the directory, the disk and the journals in it; and lists the other
interpreters of the host. Exit status 1 if something is broken.

Standard library only: it runs on a base installation.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from pythonaudit.cli import checks, default_directory
from pythonaudit.cli.checks import Finding
from pythonaudit.cli.cmd_env import SHIM
from pythonaudit.cli.interpreters import find_interpreters
from pythonaudit.cli.ourselves import environment_in_force
from pythonaudit.cli.render import neutralise
from pythonaudit.cli.trial import try_recording
from pythonaudit.errors import UnsupportedError

_COLOURS = {checks.OK: "32", checks.NOTE: "36", checks.WARNING: "33", checks.BROKEN: "31;1"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "--format", choices=("table", "jsonl"), default="table", help="how to print it (default: table)"
    )


def run(args: argparse.Namespace) -> int:
    """Prints every finding as it is found; 1 if one is broken, else 0."""
    printer = _print_jsonl if args.format == "jsonl" else _Lines().print
    broken = False
    for finding in examine(args):
        printer(finding)
        broken = broken or finding.status == checks.BROKEN
    return 1 if broken else 0


def examine(args: argparse.Namespace) -> Iterator[Finding]:
    """Every finding, in the order of the report."""
    uid, own = os.geteuid(), environment_in_force()
    found = find_interpreters()
    this = next((one for one in found if one.executable == Path(sys.executable)), None)
    if this is None:
        raise UnsupportedError(f"{sys.executable} cannot be started as a child, so nothing can be tried")
    others = [one for one in found if one is not this]
    yield from checks.check_installation(this)
    yield from checks.check_switch(own)
    if this.supported:
        environment = own | {"PYTHONAUDIT": "1"}
        if args.dir != default_directory(own, uid):
            environment["PYTHONAUDIT_DIR"] = str(args.dir)
        site = try_recording(this.executable, (), environment, args.dir)
        yield from checks.check_trial("PYTHONAUDIT=1", site, args.dir, environment)
        environment["LD_PRELOAD"] = ":".join(filter(None, (os.environ.get("LD_PRELOAD"), str(SHIM))))
        preload = try_recording(this.executable, ("-I", "-S"), environment, args.dir)
        yield from checks.check_trial("pythonaudit run", preload, args.dir, environment)
    yield from checks.check_others(sorted(others, key=lambda one: (not one.supported, one.version)))
    yield from checks.check_directory(args.dir, uid)
    yield from checks.check_fallback(args.dir, uid)
    yield from checks.check_room(args.dir, own)
    yield from checks.check_journal(args.dir)


def _print_jsonl(finding: Finding) -> None:
    line = {"subject": finding.subject, "status": finding.status, "text": finding.text}
    if finding.remedy:
        line["remedy"] = finding.remedy
    print(json.dumps(line), flush=True)


class _Lines:
    """Lines for people, under a heading for each subject; colours on a terminal."""

    def __init__(self) -> None:
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._subject = ""

    def print(self, finding: Finding) -> None:
        """Prints one finding, and its subject where that is new."""
        if finding.subject != self._subject:
            self._subject = finding.subject
            print(self._paint(finding.subject, "1"))
        status = self._paint(f"{finding.status:<8}", _COLOURS[finding.status])
        print(f"  {status} {neutralise(finding.text)}", flush=True)
        if finding.remedy:
            print(f"           {self._paint('→ ', '2')}{neutralise(finding.remedy)}", flush=True)

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured else text
