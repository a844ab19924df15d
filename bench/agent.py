"""What the agent keeps up with, what it takes, and what an event costs whose segments it lets be used again.

    python bench/agent.py              # all three; --rounds and --seconds make it longer

Speed: real programs, recorded, raise events as fast as they can until so many are there; the agent, on one core, seals
and archives all of them. Events are divided by the processor time that it took, so that a busy machine matters less;
`lag` is the longest time from a commit to its seal while the same programs raise so many events a second, paced.
Idle: processes that wait for input; the agent's processor time.
Cost: a program that raises events in bursts, alone and with an agent that archives and has its files used again; the
program's own processor time of an event, rounds in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pythonaudit.agent.presence import read_status
from pythonaudit.cli.interpreters import unrecorded

COMMAND = [sys.executable, "-m", "pythonaudit"]
TICKS = os.sysconf("SC_CLK_TCK")

#: Walks through the standard library as `bench/ingest.py` does; each line of input: how many events, how many a second.
WORK = """
import os, socket, sys, time
library = os.path.dirname(os.__file__)
def events():
    number = 0
    while True:
        for place, _, names in os.walk(library):
            yield 2
            for name in names:
                number += 1
                path = os.path.join(place, name)
                open(path, "rb").close()
                sys.audit("shop.order.paid", {"order": number, "amount": 12.5})
                sys.audit(f"User logged in: username=user{number % 97}, ip=10.0.0.{number % 250}")
                yield 3
print(flush=True)
more = events()
for line in sys.stdin:
    count, rate = map(int, line.split())
    begin, raised = time.monotonic(), 0
    while raised < count:
        raised += next(more)
        if rate and raised % 50 < 3:
            time.sleep(max(begin + raised / rate - time.monotonic(), 0))
    print(raised, flush=True)
"""
IDLE = "import sys; print(flush=True); sys.stdin.read()"
COST = """
import sys, time
def deep(n):
    if n: return deep(n - 1)
    audit = sys.audit
    begin = time.process_time_ns()
    for _ in range(100_000): audit("app.event", 1, "x")
    return (time.process_time_ns() - begin) / 100_000
for line in sys.stdin:
    print(deep(15), flush=True)
"""


def start(directory: Path, program: str, limit: str = "8G") -> subprocess.Popen[str]:
    """Starts a program that is recorded."""
    env = unrecorded(os.environ) | {
        "PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": str(directory), "PYTHONAUDIT_MAX_BYTES": limit,
    }  # fmt: skip
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program], env=env, stdin=pipe, stdout=pipe, text=True)


def ask(process: subprocess.Popen[str], line: str) -> str:
    """Sends a line and waits for the answer."""
    assert process.stdin and process.stdout
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline()


@contextmanager
def agent(directory: Path) -> Iterator[int]:
    """An agent with keys, on one core; its process id."""
    command = [*COMMAND, "--dir", str(directory)]
    if not (directory / "seal").exists():
        subprocess.run([*command, "keys", "init"], check=True, stdout=subprocess.DEVNULL)
    env = unrecorded(os.environ)
    with subprocess.Popen(
        ["taskset", "-c", "0", *command, "agent"], env=env, stderr=subprocess.DEVNULL
    ) as process:
        while read_status(directory).get("pid") != process.pid:
            time.sleep(0.1)
        yield process.pid
        process.send_signal(signal.SIGTERM)


def processor_seconds(pid: int) -> float:
    """What a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_bytes(pid: int) -> int:
    """The most memory that it had."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def figures(directory: Path) -> dict[str, float]:
    """What the agent says of itself."""
    found: dict[str, float] = read_status(directory).get("figures", {})
    return found


def measure_speed(place: Path, events: int, programs: int, rate: int) -> dict[str, float]:
    """Events a second of processor time, memory, lag."""
    workers = [start(place, WORK) for _ in range(programs)]
    for worker in workers:
        assert worker.stdout
        worker.stdout.readline()
    with agent(place) as pid:
        before, spent = figures(place), processor_seconds(pid)
        for worker in workers:
            assert worker.stdin
            worker.stdin.write(f"{events // programs} 0\n")
            worker.stdin.flush()
        begin = time.monotonic()
        for worker in workers:
            assert worker.stdout
            worker.stdout.readline()
        raised = time.monotonic() - begin
        sealed = 0.0
        while sealed < events:
            time.sleep(0.5)
            sealed = figures(place)["sealed"] - before["sealed"]
        until = time.monotonic() + 90  # the last segment is open still
        while figures(place)["closed"] and time.monotonic() < until:
            time.sleep(0.5)
        seconds, found = processor_seconds(pid) - spent, figures(place)
        archived = found["archived"] - before["archived"]
        result = {
            "events": sealed, "raised in s": raised, "agent s": seconds,
            "sealed and archived/s": (sealed + archived) / 2 / seconds, "peak MB": peak_bytes(pid) / 1e6,
        }  # fmt: skip
        # Now paced, and the longest lag of each two seconds.
        for worker in workers:
            assert worker.stdin
            worker.stdin.write(f"{rate * 20 // programs} {rate // programs}\n")
            worker.stdin.flush()
        lags, spent = [], processor_seconds(pid)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            time.sleep(1)
            lags.append(figures(place)["lag"])
        result |= {f"lag s at {rate}/s": max(lags), f"cores at {rate}/s": (processor_seconds(pid) - spent) / 20}
        for worker in workers:
            worker.communicate()
        result["peak MB"] = peak_bytes(pid) / 1e6
    return result


def measure_idle(place: Path, programs: int, seconds: int) -> dict[str, float]:
    """Processor time of an agent that has nothing to do."""
    idle = [start(place, IDLE) for _ in range(programs)]
    for one in idle:
        assert one.stdout
        one.stdout.readline()
    with agent(place) as pid:
        while figures(place)["processes"] < programs:
            time.sleep(0.5)
        time.sleep(5)
        spent, begin = processor_seconds(pid), time.monotonic()
        time.sleep(seconds)
        share = (processor_seconds(pid) - spent) / (time.monotonic() - begin)
        result = {"processes": programs, "% of a core": share * 100, "peak MB": peak_bytes(pid) / 1e6}
        for one in idle:
            one.communicate()
    return result


def measure_cost(place: Path, rounds: int) -> dict[str, float]:
    """Nanoseconds an event: alone, and with an agent."""
    alone, served = place / "alone", place / "served"
    subprocess.run([*COMMAND, "--dir", str(served), "keys", "init"], check=True, stdout=subprocess.DEVNULL)
    pair = start(alone, COST), start(served, COST)
    found: tuple[list[float], list[float]] = ([], [])
    with agent(served):
        for number in range(rounds + 8):
            for one, into in zip(pair, found, strict=True):
                value = float(ask(one, "go"))
                if number >= 8:  # until files are used again
                    into.append(value)
            time.sleep(0.5)
        drained = len(list((served / "drained").iterdir())) if (served / "drained").exists() else 0
        for one in pair:
            one.communicate()
    ratios = [with_agent / without for without, with_agent in zip(*found, strict=True)]
    return {
        "alone ns": median(found[0]),
        "served ns": median(found[1]),
        "ratio": median(ratios),
        "drained": drained,
    }


def main() -> None:
    """Prints one object a part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=3_000_000)
    parser.add_argument("--programs", type=int, default=4)
    parser.add_argument("--rate", type=int, default=50_000)
    parser.add_argument("--idle", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--only", choices=("speed", "idle", "cost"))
    args = parser.parse_args()
    parts = {
        "speed": lambda place: measure_speed(place, args.events, args.programs, args.rate),
        "idle": lambda place: measure_idle(place, args.idle, args.seconds),
        "cost": lambda place: measure_cost(place, args.rounds),
    }
    for name, part in parts.items():
        if args.only in (None, name):
            with tempfile.TemporaryDirectory() as made:
                found = part(Path(made))
            print(name, json.dumps({key: round(value, 3) for key, value in found.items()}), flush=True)


if __name__ == "__main__":
    main()
