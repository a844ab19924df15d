"""What an event costs: beside no hook, a C hook that does nothing, and what a user would write.

usage: python bench/cost.py [ROUNDS]

`sys.audit("app.event", 1, "x")` with 16 Python frames on the stack, in nanoseconds of CPU time,
loop included. Every round runs each kind of hook once in a process of its own, one kind after the
other; of a process the fastest of five loops counts (its pages are warm), of the rounds the
median and the minimum are shown. The machine's noise is in the difference of the two.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import environment

from pythonaudit.cli.costs import CHILD, DEPTH

MODES = ("bare", "idle", "pythonaudit", "context", "python", "json", "json-stack")
EVENTS = {"json": 3000, "json-stack": 1500}


def run_once(python: Path, mode: str) -> float:
    """Nanoseconds an event of one process."""
    with tempfile.TemporaryDirectory() as directory:
        events = EVENTS.get(mode, 20000)
        arguments = [mode, str(DEPTH), str(events), "5"]
        done = subprocess.run(
            [python, CHILD, *arguments],
            env=environment.clean_environment(PYTHONAUDIT_DIR=directory)
            | ({"PYTHONAUDIT": "1"} if mode in ("pythonaudit", "context") else {}),
            check=True,
            capture_output=True,
            text=True,
        )
    return min(map(float, done.stdout.split()))


def main() -> None:
    """Prints the table, in Markdown."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    print("ns an event: median (min) of", rounds, "rounds;", DEPTH, "frames\n")
    print(
        "| | "
        + " | ".join(MODES)
        + " | ours over idle | context over ours | json-stack over bare / ours over bare |"
    )
    print("| --- " * (len(MODES) + 4) + "|")
    with tempfile.TemporaryDirectory() as scratch:
        wheel = environment.build_wheel(Path(scratch))
        for number, interpreter in enumerate(environment.interpreters()):
            python = environment.make_environment(interpreter, Path(scratch) / str(number), wheel)
            ns: dict[str, list[float]] = {mode: [] for mode in MODES}
            for _ in range(rounds):
                for mode in MODES:
                    ns[mode].append(run_once(python, mode))
            middle = {mode: median(values) for mode, values in ns.items()}
            cells = [f"{middle[mode]:.0f} ({min(ns[mode]):.0f})" for mode in MODES]
            over = f"{middle['pythonaudit'] - middle['idle']:.0f} ({min(ns['pythonaudit']) - min(ns['idle']):.0f})"
            within = f"{middle['context'] - middle['pythonaudit']:.0f} ({min(ns['context']) - min(ns['pythonaudit']):.0f})"
            ratio = (middle["json-stack"] - middle["bare"]) / (middle["pythonaudit"] - middle["bare"])
            print(
                f"| {environment.name_of(interpreter)} | {' | '.join(cells)} | {over} | {within} | {ratio:.0f} |"
            )


if __name__ == "__main__":
    main()
