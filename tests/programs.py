"""A recorded program that raises events when it is told to.

with programs(installed, directory) as (program,):
    raised = program.raise_events(10)              # so many in all, by now
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import Installed

#: Raises as many events as each line asks for, numbered on.
PROGRAM = """
import sys
n = 0
print(flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        sys.audit("app.event", n, "x" * (n % 50))
        n += 1
    print(n, flush=True)
"""


class Program:
    """It at work."""

    def __init__(self, installed: Installed, directory: Path, **settings: str) -> None:
        env = installed.environment(PYTHONAUDIT="1", PYTHONAUDIT_DIR=directory, **settings)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [installed.python, "-c", PROGRAM], env=env, stdin=pipe, stdout=pipe, text=True
        )
        assert self.process.stdin and self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.stdout.readline()

    def raise_events(self, count: int) -> int:
        self.stdin.write(f"{count}\n")
        self.stdin.flush()
        return int(self.stdout.readline())


@contextmanager
def programs(installed: Installed, directory: Path, count: int = 1, **settings: str) -> Iterator[list[Program]]:
    started = [Program(installed, directory, **settings) for _ in range(count)]
    try:
        yield started
        for one in started:
            one.process.communicate()
            assert one.process.returncode == 0
    finally:
        for one in started:
            one.process.kill()
            one.process.wait()
