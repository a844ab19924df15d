"""Off means off: instructions, counted by valgrind, with the package installed and without.

usage: python bench/off.py

`python -c pass` as a whole, and `sys.audit("app.event", 1, "x")` in a loop (the difference of a
long loop and a short one). PYTHONAUDIT is not set. Counts repeat to the instruction but for what
depends on paths and addresses.
"""

import re
import subprocess
import tempfile
from pathlib import Path

import environment

LOOP = "import sys\nfor _ in range({}): sys.audit('app.event', 1, 'x')"
SHORT, LONG = 1000, 21000


def count(python: Path, program: str) -> int:
    """Instructions of one run of the program."""
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/out", python, "-c", program],
            env=environment.clean_environment(PYTHONHASHSEED="0", PYTHONDONTWRITEBYTECODE="1"),
            check=True,
            capture_output=True,
            text=True,
        )
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found, done.stderr
    return int(found[1])


def main() -> None:
    """Prints the table, in Markdown."""
    print(
        "| instructions | `-c pass`, not installed | installed | ratio | `sys.audit`, not installed | installed | ratio |"
    )
    print("| --- " * 7 + "|")
    with tempfile.TemporaryDirectory() as scratch:
        wheel = environment.build_wheel(Path(scratch))
        for number, interpreter in enumerate(environment.interpreters()):
            rows = []
            for kind, what in (("bare", None), ("with", wheel)):
                python = environment.make_environment(interpreter, Path(scratch) / f"{number}{kind}", what)
                subprocess.run([python, "-c", "pass"], check=True)  # writes what is cached
                started = count(python, "pass")
                each = (count(python, LOOP.format(LONG)) - count(python, LOOP.format(SHORT))) / (LONG - SHORT)
                rows.append((started, each))
            (a, x), (b, y) = rows
            print(
                f"| {environment.name_of(interpreter)} | {a:,} | {b:,} | {b / a:.4f} "
                f"| {x:.1f} | {y:.1f} | {y / x:.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
