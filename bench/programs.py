"""What whole programs cost recorded, and what they cost under what one would use instead.

usage: python bench/programs.py [--count | --time] [--rounds N] [--only NAME]

--count  instructions recorded / not recorded, children too, by valgrind; bytes and events of a program.
--time   processor time, user and system, of the program and its children, in paired rounds: the median of the
         ratios to the same round not recorded, and its 95 % interval by bootstrap.

Both without either. The programs: `import pandas`, 200 requests of Django's test client with the ORM
(bench/django_child.py), pip installing a source distribution, its own test suite under pytest. All of them
run in one environment, made once from PyPI in build/programs, with this tree's wheel in it: "off" is
installed and not set. The source distribution is that of itsdangerous.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import environment

from pythonaudit.cli import costs
from pythonaudit.cli.interpreters import probe
from pythonaudit.journal.chunks import parse_header, walk_chunks
from pythonaudit.journal.reader import Journal
from pythonaudit.journal.segment import committed

CACHE = environment.ROOT / "build" / "programs"
PACKAGES = ("pandas==2.2.3", "django==5.1.4", "pytest==8.3.4", "freezegun==1.5.1", "flit_core==3.10.1")
OTHERS = ("snaketrace==0.3.1",)
SOURCE = "itsdangerous==2.2.0"
HERE = Path(__file__).resolve().parent


NAMES = ("app.event", "import pandas", "Django, 200 requests", "pip install", "pytest")


@dataclass(frozen=True)
class Place:
    """Where the programs run: an interpreter with everything in it, a source distribution, its tests."""

    python: Path
    archive: Path
    tree: Path

    def programs(self, scratch: Path) -> dict[str, list[str]]:
        """Arguments of the interpreter, by name of the program."""
        (scratch / "audit.py").write_text("import sys\nfor _ in range(20000): sys.audit('app.event', 1, 'x')\n")
        (scratch / "pandas_only.py").write_text("import pandas\n")
        pip = ["-m", "pip", "install", "-qq", "--no-index", "--no-deps", "--no-build-isolation", "--no-cache-dir"]
        return {
            "app.event": [str(scratch / "audit.py")],
            "import pandas": [str(scratch / "pandas_only.py")],
            "Django, 200 requests": [str(HERE / "django_child.py")],
            "pip install": [*pip, "--target", str(scratch / "target"), str(self.archive)],
            "pytest": ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(self.tree / "tests")],
        }


def make_place() -> Place:
    """Fetches once; the wheel is this tree's each time."""
    base, wanted = probe(Path(sys.executable)), " ".join((*PACKAGES, *OTHERS, SOURCE))
    assert base
    note = CACHE / "wanted"
    if not note.exists() or note.read_text() != wanted:
        shutil.rmtree(CACHE, ignore_errors=True)
        subprocess.run([base.base, "-m", "venv", CACHE / "venv"], check=True)
        pip = [CACHE / "venv/bin/python", "-m", "pip", "--disable-pip-version-check", "-q"]
        subprocess.run([*pip, "install", *PACKAGES, *OTHERS], check=True)
        fetch = ["download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "-d", CACHE]
        subprocess.run([*pip, *fetch, SOURCE], check=True)
        (archive,) = CACHE.glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(CACHE, filter="data")
        subprocess.run([*pip, "install", "--no-deps", "--no-build-isolation", archive], check=True)
        note.write_text(wanted)
    (archive,) = CACHE.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as scratch:
        environment.unpack_wheel(environment.build_wheel(Path(scratch)), CACHE / "venv")
    # Nothing writes bytecode while it is measured; what pip installs is compiled.
    subprocess.run([CACHE / "venv/bin/python", "-m", "compileall", "-q", CACHE / "venv/lib"], check=False)
    return Place(CACHE / "venv/bin/python", archive, CACHE / archive.name.removesuffix(".tar.gz"))


def variables(scratch: Path, on: bool) -> dict[str, str]:
    """The environment of a measured process."""
    ours = {"PYTHONAUDIT_DIR": str(scratch / "journal")} | ({"PYTHONAUDIT": "1"} if on else {})
    return environment.clean_environment(PYTHONHASHSEED="0", PYTHONDONTWRITEBYTECODE="1", **ours)


def run(words: list[str | Path], env: dict[str, str]) -> float:
    """Seconds of processor time, children included."""
    null = subprocess.DEVNULL
    child = subprocess.Popen(words, env=env, stdin=null, stdout=null, stderr=null)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, f"{words} ended with {child.returncode}"
    return usage.ru_utime + usage.ru_stime


def count(words: list[str | Path], env: dict[str, str]) -> int:
    """Instructions, children included."""
    grind = ["valgrind", "--tool=callgrind", "--trace-children=yes", "--callgrind-out-file=/dev/null"]
    with tempfile.NamedTemporaryFile(mode="r", errors="replace") as log:
        options = [f"--log-file={log.name}.%p"]
        run([*grind, *options, *words], env)
        found = 0
        for path in Path(log.name).parent.glob(f"{Path(log.name).name}.*"):
            found += sum(map(int, re.findall(r"Collected : (\d+)", path.read_text(errors="replace"))))
            path.unlink()
    assert found, "valgrind counted nothing"
    return found


def size(journal: Path) -> tuple[int, int, int]:
    """Events recorded, bytes written of them and of what they refer to, and how many losses are told of."""
    opened = Journal(journal)
    events = sum(1 for _ in opened.events())
    stored = 0
    for path in journal.rglob("*.pyaudit"):
        data = path.read_bytes()
        for chunk in walk_chunks(data, parse_header(data))[0]:
            entries = committed(data, chunk).nbytes
            # Entries grow down from the end; in front of them is what they point to, and zeros.
            stored += entries + len(data[chunk.offset : chunk.end - entries].rstrip(b"\0"))
    return events, stored, len(opened.losses())


def interval(ratios: list[float]) -> tuple[float, float]:
    """95 % of the medians of samples drawn with replacement."""
    draw = random.Random(0)
    medians = sorted(median(draw.choices(ratios, k=len(ratios))) for _ in range(4000))
    return medians[100], medians[3899]


def print_counts(place: Place, only: str) -> None:
    """Instructions and bytes."""
    print("| | instructions, off | recorded | recorded / off | events | bytes an event | losses |")
    print("| --- " * 7 + "|")
    for name in (name for name in NAMES if only in name):
        counted = []
        for on in (False, True):
            with tempfile.TemporaryDirectory() as directory:
                words: list[str | Path] = [place.python, *place.programs(Path(directory))[name]]
                counted.append(count(words, variables(Path(directory), on)))
        with tempfile.TemporaryDirectory() as directory:
            scratch = Path(directory)
            run([place.python, *place.programs(scratch)[name]], variables(scratch, True))
            events, stored, losses = size(scratch / "journal")
        off, recorded = counted
        each = stored / events
        print(
            f"| {name} | {off:,} | {recorded:,} | {recorded / off:.3f} | {events:,} | {each:.0f} | {losses} |",
            flush=True,
        )


def time_once(place: Place, name: str, mode: str) -> float:
    """One run in one way."""
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        (scratch / "journal").mkdir()
        words: list[str | Path] = [place.python, *place.programs(scratch)[name]]
        env = variables(scratch, mode == "pythonaudit")
        if mode == "json-stack":
            env |= {"PYTHONPATH": str(HERE / "hook"), "COST_CHILD": str(costs.CHILD.parent)}
        elif mode == "snaketrace":
            words = [place.python, "-m", "snaketrace", "-o", str(scratch / "trace"), *words[1:]]
        elif mode == "strace":
            words = ["strace", "-f", "-o", str(scratch / "trace"), *words]
        return run(words, env)


def print_times(place: Place, rounds: int, only: str) -> None:
    """Paired ratios."""
    others = ["pythonaudit", "json-stack", "snaketrace", *(["strace"] if shutil.which("strace") else [])]
    print(f"processor time / off, {rounds} rounds: median [95 % interval]\n")
    print("| | off, seconds | " + " | ".join(others) + " |")
    print("| --- " * (len(others) + 2) + "|")
    for name in [name for name in NAMES if only in name and name != "app.event"]:
        spent: dict[str, list[float]] = {mode: [] for mode in ("off", *others)}
        failed: dict[str, str] = {}
        for number in range(rounds):
            modes = list(spent)
            for mode in modes if number % 2 else modes[::-1]:
                if mode in failed:
                    continue
                try:
                    spent[mode].append(time_once(place, name, mode))
                except AssertionError as error:
                    if mode == "off":
                        raise
                    failed[mode] = str(error).rsplit(" ended", 1)[1]
        cells = []
        for mode in others:
            if mode in failed:
                cells.append(f"ended{failed[mode]}")
                continue
            ratios = [a / b for a, b in zip(spent[mode], spent["off"], strict=True)]
            low, high = interval(ratios)
            cells.append(f"{median(ratios):.2f} [{low:.2f}, {high:.2f}]")
        print(f"| {name} | {median(spent['off']):.2f} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Prints the tables, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="a part of a program's name")
    arguments = parser.parse_args()
    place = make_place()
    if arguments.count or not arguments.time:
        print_counts(place, arguments.only)
    if arguments.time or not arguments.count:
        print_times(place, arguments.rounds, arguments.only)


if __name__ == "__main__":
    main()
