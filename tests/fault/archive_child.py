"""Changes an archive in children that can be killed at any of their steps: a program for tests.

    python archive_child.py      reads lines: STEP, VERB, DIRECTORY, tabs between; answers each with the exit status of a child

VERB is `ingest`, `compact`, `rotate` (of keys), `seal` (what is in the journal), or `retain:` and the limits as JSON.
Where there is a log, it is told. Steps are the calls of the child that change what is in a directory; before number
STEP, from 1, it kills itself (0: never). Children of one program share its imports.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pythonaudit.agent.config import Retention
from pythonaudit.archive.compact import compact
from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.retention import apply
from pythonaudit.archive.sealer import Sealer
from pythonaudit.errors import StoreError
from pythonaudit.integrity.writer import Writer
from pythonaudit.journal.reader import Journal

STEPS = frozenset({"os.rename", "os.remove", "os.mkdir", "os.chmod", "fcntl.flock"})
BATCH_BYTES = 100_000  # a few segments each


def kill_at(step: int) -> None:
    """Kills this process at a step."""
    count = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if event in STEPS or (event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)

    if step:
        sys.addaudithook(hook)


def change(verb: str, directory: Path) -> int:
    """What a child does."""
    archive, journal, writer = Archive(directory), Journal(directory), Writer(directory)
    sealer = Sealer(writer) if writer.log.exists else None
    try:
        if verb == "compact":
            compact(archive, sealer=sealer)
        elif verb == "rotate":
            with writer.lock():
                writer.rotate()
                writer.checkpoint()
        elif verb == "seal":
            Sealer(writer).seal(decoder for decoder in map(journal.load, journal.heads()) if decoder)
        elif verb == "ingest":
            ingest(journal, archive, batch_bytes=BATCH_BYTES, sealer=sealer)
        else:
            apply(archive, journal, Retention(**json.loads(verb.partition(":")[2])), sealer=sealer)
    except StoreError as error:
        print(error, file=sys.stderr)
        return 3
    return 0


def main() -> None:
    for line in sys.stdin:
        step, verb, directory = line.rstrip("\n").split("\t", 2)
        child = os.fork()
        if child == 0:
            kill_at(int(step))
            status = 70
            try:
                status = change(verb, Path(directory))
            finally:
                os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
