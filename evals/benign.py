"""What the rules say of ordinary programs: much used packages, installed and put to work, recorded.

usage: python evals/benign.py [--only NAME] [--record-only]

benign.toml says which. Each gets a fresh virtual environment and a home of its own; pip installing it and what it is
asked to do are recorded with `pythonaudit run` and the default set of events, into build/evals/benign/NAME/store.
The store is archived, the environment removed. What is there is not recorded again: stop it whenever you like.
Then `pythonaudit detect` reads every store. Printed, in Markdown:

- each rule that raised an alert of level medium or above, where, and how often;
- the share of programs with such an alert, and alerts for each million events.

--record-only prints what was recorded instead, and does not need the verb. Needs the package index. What fails to be
installed is said, not counted, and tried again the next time. It measures: exit status 0, whatever is found; 2 wrong
usage; 3 where the disk is full.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attacks import LOUD, PYTHONAUDIT, ask
from emulation import HERE

from pythonaudit.cli import VERBS
from pythonaudit.cli.interpreters import probe, unrecorded

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = HERE.parent
KEPT = ROOT / "build" / "evals"
STORES, WHEELS = KEPT / "benign", KEPT / "wheels"
WHEELS_MAX_BYTES = 4 << 30
FREE_BYTES = 3 << 30
#: A program that has not ended by then hangs.
SECONDS = 900


@dataclass(frozen=True)
class Entry:
    """One program.

    Attributes:
        name: of the package or the workload.
        install: what pip is asked for.
        work: the program's text, or "" where there is a file.
        program: a file beside this one, or "".
        suite: a source distribution whose tests are run, or "".
    """

    name: str
    install: tuple[str, ...]
    work: str = ""
    program: str = ""
    suite: str = ""


def load_entries(path: Path = HERE / "benign.toml") -> list[Entry]:
    """Everything in benign.toml: packages in the order of the ranking, workloads, suites.

    Raises:
        ValueError: a package of the table `work` or `module` is not in the ranking.
    """
    values: dict[str, Any] = tomllib.loads(path.read_text())
    names, modules, works = values["ranking"]["packages"], values["module"], values["work"]
    if strangers := (set(modules) | set(works)) - set(names):
        raise ValueError(f"{path}: not in the ranking: {', '.join(sorted(strangers))}")
    entries = []
    for name in names:
        plain = f"import {modules.get(name, name.replace('-', '_'))}\n"
        entries.append(Entry(name, (name,), works.get(name, plain)))
    entries += [
        Entry(name, tuple(value["install"]), program=value["program"])
        for name, value in values["workload"].items()
    ]
    entries += [
        Entry(f"{name}-tests", tuple(value["install"]), suite=value["source"])
        for name, value in values["suite"].items()
    ]
    return entries


def record(entry: Entry) -> str:
    """Installs it and has it do its work, both recorded; what went wrong with the installation, or ""."""
    part = STORES / f"{entry.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    store, home, project = part / "store", part / "home", part / "project"
    for directory in (store, home, project):
        directory.mkdir(parents=True)
    WHEELS.mkdir(exist_ok=True)
    env = unrecorded(os.environ) | {"HOME": str(home), "PIP_CACHE_DIR": str(WHEELS)}
    env |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    base = probe(Path(sys.executable))
    assert base
    began = time.monotonic()
    subprocess.run([base.base, "-m", "venv", part / "venv"], env=env, check=True)
    python = part / "venv" / "bin" / "python"

    def run(label: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [*PYTHONAUDIT, "--dir", store, "run", "-q", "--label", label, "--", python, *words]
        return subprocess.run(
            [str(word) for word in command],
            cwd=project,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
        )

    done = run("install", "-m", "pip", "install", "-q", *entry.install)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
    if entry.suite:
        fetch_source(entry.suite, python, project, env)
        words: list[str | Path] = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
    else:
        text = (HERE / entry.program).read_text() if entry.program else entry.work
        (project / "work.py").write_text(text)
        words = ["work.py"]
    done = run("work", *words)
    said = (done.stdout + done.stderr).strip().splitlines()[-1:] if done.returncode else []
    subprocess.run([*PYTHONAUDIT, "--dir", store, "ingest"], env=env, capture_output=True, check=True)
    events = sum(row["recorded"] + row["counted"] for row in ask(store, "stats", "--by", "event"))
    known = {"status": done.returncode, "said": said, "events": events, "seconds": time.monotonic() - began}
    (part / "recorded.json").write_text(json.dumps(known))
    for directory in (part / "venv", home, project):
        shutil.rmtree(directory)
    shutil.rmtree(STORES / entry.name, ignore_errors=True)
    part.rename(STORES / entry.name)
    return ""


def fetch_source(source: str, python: Path, project: Path, env: dict[str, str]) -> None:
    """Unpacks a source distribution, of which the tests are run, into the project's directory; not recorded."""
    fetch = ["download", "-q", "--no-deps", "--no-binary", ":all:", "--no-build-isolation"]
    packed = project.parent / "source"
    subprocess.run([python, "-m", "pip", *fetch, "-d", packed, source], env=env, check=True)
    (archive,) = packed.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        content.extractall(packed)
    (tree,) = (path for path in packed.iterdir() if path.is_dir())
    project.rmdir()
    tree.rename(project)
    shutil.rmtree(packed)


def keep_bounded() -> str:
    """Removes the cache of wheels where it is too large; why there is no room, or ""."""
    size = sum(path.stat().st_size for path in WHEELS.rglob("*") if path.is_file())
    if size > WHEELS_MAX_BYTES:
        shutil.rmtree(WHEELS)
    free = shutil.disk_usage(STORES).free
    return (
        "" if free > FREE_BYTES else f"{free >> 20} MiB are free where {STORES} is; {FREE_BYTES >> 20} are needed"
    )


def recorded(entries: Sequence[Entry]) -> Iterator[tuple[Entry, dict[str, Any]]]:
    """Those that are there, and what is known of their run."""
    for entry in entries:
        note = STORES / entry.name / "recorded.json"
        if note.exists():
            yield entry, json.loads(note.read_text())


def print_recorded(entries: Sequence[Entry]) -> None:
    """What there is."""
    print("| program | events | KiB | seconds | |\n| --- | ---: | ---: | ---: | --- |")
    for entry, known in recorded(entries):
        store = STORES / entry.name / "store"
        size = sum(path.stat().st_size for path in store.rglob("*") if path.is_file()) >> 10
        problem = f"work ended with {known['status']}: {' '.join(known['said'])}" if known["status"] else ""
        print(f"| {entry.name} | {known['events']} | {size} | {known['seconds']:.0f} | {problem} |")


def print_alerts(entries: Sequence[Entry]) -> None:
    """Asks the rules, and prints what they say and how often."""
    print("| program | rule | level | alerts | package |\n| --- | --- | --- | ---: | --- |")
    programs = events = alerts = loud = 0
    by_rule: Counter[str] = Counter()
    for entry, known in recorded(entries):
        rows = [row for row in ask(STORES / entry.name / "store", "detect") if row["level"] in LOUD]
        kinds = Counter((row["title"], row["level"], package_of(row)) for row in rows)
        for (rule, level, package), count in sorted(kinds.items()):
            print(f"| {entry.name} | {rule} | {level} | {count} | {package} |")
            by_rule[rule] += 1
        programs, events, alerts, loud = (
            programs + 1,
            events + known["events"],
            alerts + len(rows),
            loud + bool(rows),
        )
    if not programs:
        return
    print(f"\n- programs: {programs}, events: {events}")
    print(f"- programs with an alert of level medium or above: {loud}, {100 * loud / programs:.1f} %")
    print(
        f"- alerts of level medium or above: {alerts}, {1e6 * alerts / max(events, 1):.2f} for each million events"
    )
    for rule, count in by_rule.most_common():
        print(f"- {rule}: {count} programs")


def package_of(alert: dict[str, Any]) -> str:
    """The name of the package that an alert is about, or ""."""
    package = alert.get("package")
    return str(package.get("name", "")) if isinstance(package, dict) else str(package or "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Records what is not there yet, and prints what there is."""
    parser = argparse.ArgumentParser(description="Records much used packages at work, and asks detect.")
    parser.add_argument("--only", action="append", metavar="NAME", help="this one (can be repeated)")
    parser.add_argument("--record-only", action="store_true", help="print what was recorded, do not detect")
    args = parser.parse_args(arguments)
    entries = load_entries()
    if unknown := set(args.only or ()) - {entry.name for entry in entries}:
        parser.error(f"--only: there is no {', '.join(sorted(unknown))} in benign.toml")
    entries = [entry for entry in entries if not args.only or entry.name in args.only]
    if not args.record_only and "detect" not in VERBS:
        parser.error("this tree has no verb detect: say --record-only")
    STORES.mkdir(parents=True, exist_ok=True)
    for number, entry in enumerate(entries, 1):
        if (STORES / entry.name / "recorded.json").exists():
            continue
        if problem := keep_bounded():
            print(f"benign.py: {problem}", file=sys.stderr)
            return 3
        print(f"{number} of {len(entries)}: {entry.name}", file=sys.stderr)
        try:
            problem = record(entry)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            problem = str(error)
        if problem:
            print(f"{entry.name}: {problem}", file=sys.stderr)
    if args.record_only:
        print_recorded(entries)
    else:
        print_alerts(entries)
    return 0


if __name__ == "__main__":
    sys.exit(main())
