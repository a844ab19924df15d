"""An agent that is killed again and again while programs record, and what is left when one ends in order."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from tests.agents import begin, check, records, running, start, told
from tests.conftest import Installed
from tests.recorded import SEED, SOAK

KILLS = 100 if SOAK > 1 else 4
PROGRAMS = 3

#: Raises numbered events in two threads, with pauses, until its input ends; says how many. Segments are small
#: (RLIMIT_FSIZE), so that many close.
PROGRAM = """
import sys, threading, time
counts = [0, 0]
ending = False
def work(which):
    n = 0
    while not ending:
        for _ in range(20):
            sys.audit(f"app.event.{which}", n, "x" * (n % 300))
            n += 1
        time.sleep(0.01)
    counts[which] = n
threads = [threading.Thread(target=work, args=(which,)) for which in range(2)]
for thread in threads: thread.start()
print(flush=True)
sys.stdin.read()
ending = True
for thread in threads: thread.join()
print(*counts, flush=True)
"""


def test_killed_under_load(installed_here: Installed, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    begin(tmp_path)
    settings = {"PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": str(tmp_path), "PYTHONAUDIT_EVENTS": "app"}
    env = installed_here.environment(**settings)
    command = ["prlimit", "--fsize=262144", "--", str(installed_here.python), "-c", PROGRAM]
    pipe = subprocess.PIPE
    several = [subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True) for _ in range(PROGRAMS)]
    raised: list[list[int]] = []
    try:
        for one in several:
            assert one.stdout
            one.stdout.readline()
        for _ in range(KILLS):
            agent = start(tmp_path)
            time.sleep(chance.uniform(0, 2))
            assert agent.poll() is None, agent.communicate()
            agent.kill()
            agent.communicate()
        with running(tmp_path):
            for one in several:
                out, _ = one.communicate()
                raised.append([int(count) for count in out.split()])
                assert one.returncode == 0
    finally:
        for one in several:
            one.kill()
            one.communicate()
    print(f"{KILLS} kills, {sum(map(sum, raised)):,} events", file=sys.stderr)
    assert check(tmp_path) == {"archived": sum(map(sum, raised)), "gone": 0}
    for which in range(2):
        numbers = list(told(tmp_path, f"app.event.{which}").values())
        assert sorted(map(len, numbers)) == sorted(counts[which] for counts in raised)
        assert all(one == list(range(len(one))) for one in numbers)
    said = [record["action"] for record in records(tmp_path, "agent")]
    assert said.count("start") == KILLS + 1
    assert said[-1] == "stop"
