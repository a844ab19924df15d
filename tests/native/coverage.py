"""Which lines of native/ the tests execute: `make coverage`.

Every compilation of a test run passes through a compiler that adds gcov's counters (`wrap`); what
they counted is added up here, over all builds of a file (the extension, the sanitized ones, the
drivers), by line. A process that is killed takes its counts with it, so the figures are a floor.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"
#: Line number to how often it was executed.
Counts = dict[int, int]


def wrap(directory: Path) -> Path:
    """Makes compilers that count, in a directory to put before PATH; counts go to `directory`."""
    counts, commands = directory / "counts", directory / "bin"
    shutil.rmtree(directory, ignore_errors=True)
    counts.mkdir(parents=True)
    counts.chmod(0o1777)  # tests run programs as other users
    commands.mkdir()
    for name in ("cc", "gcc"):
        compiler = shutil.which(name)
        if compiler is None:
            continue
        command = commands / name
        add = f'-dumpdir "{counts}/$$." --coverage -fprofile-update=atomic -O0'
        command.write_text(f'#!/bin/sh\nexec {compiler} "$@" {add}\n')
        command.chmod(0o755)
    return commands


def executed(notes: Path) -> dict[str, Counts]:
    """What gcov says of one object file, by file of native/."""
    found: dict[str, Counts] = {}
    command = ["gcov", "--json-format", "--stdout", str(notes)]
    said = subprocess.run(command, capture_output=True, text=True, cwd=notes.parent).stdout
    for document in said.splitlines():
        for file in json.loads(document)["files"]:
            name = Path(file["file"])
            if (NATIVE / name.name).exists() and name.parent.name == "native":
                counts = found.setdefault(name.name, {})
                for line in file["lines"]:
                    number = line["line_number"]
                    counts[number] = max(counts.get(number, 0), line["count"])
    return found


def add_up(directory: Path) -> dict[str, Counts]:
    """Over all object files that were run."""
    total: dict[str, Counts] = defaultdict(lambda: defaultdict(int))
    run = [path.with_suffix(".gcno") for path in (directory / "counts").glob("*.gcda")]
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        for found in workers.map(executed, run):
            for name, counts in found.items():
                for number, count in counts.items():
                    total[name][number] += count
    return total


def table(total: dict[str, Counts], missing: bool) -> str:
    """A line for each file: lines, executed, per cent; with `missing`, the numbers of the others."""
    rows = []
    for name in [*sorted(total), "all"]:
        lines = list(total[name].items()) if name != "all" else [i for c in total.values() for i in c.items()]
        reached = sum(count > 0 for _, count in lines)
        rows.append(f"{name:20} {len(lines):6} {reached:6} {100 * reached / max(len(lines), 1):6.1f} %")
        if missing and name != "all":
            rows += [f"{NATIVE.name}/{name}:{number}" for number, count in sorted(lines) if not count]
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="where the counts are")
    parser.add_argument("--wrap", action="store_true", help="begin: make the compilers, print where they are")
    parser.add_argument("--missing", action="store_true", help="list the lines that were not executed")
    options = parser.parse_args()
    directory = options.directory.resolve()
    if options.wrap:
        print(wrap(directory))
        return 0
    total = add_up(directory)
    print(table(total, options.missing))
    return 0 if total else 1


if __name__ == "__main__":
    sys.exit(main())
