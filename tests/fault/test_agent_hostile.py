"""Boxes of users who mean harm, and an agent of root: others are served, and nothing is believed of it."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pythonaudit.journal import layout
from tests.agents import begin, check, figures, records, running, sealed, told, until
from tests.commands import run
from tests.conftest import Installed
from tests.fault.ways import ROOT_ONLY
from tests.fuzz.fuzz_reader import CORPUS, WORDS
from tests.journal_writer import SegmentWriter
from tests.journals import SAMPLES
from tests.recorded import SEED, SOAK
from tests.unit.journal.test_follow import own_process

pytestmark = ROOT_ONLY

HOSTILE = (54321, 54322)
HONEST = 54323
TINY = 100_000 if SOAK > 1 else 5_000

#: An honest user's program: becomes that user, in a child of its own, and raises events for as long as it is asked.
PROGRAM = f"""
import os, sys
os.setgid({HONEST})
os.setuid({HONEST})
if pid := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(flush=True)
n = 0
for line in sys.stdin:
    for _ in range(int(line)):
        sys.audit("app.event", n)
        n += 1
    print(n, flush=True)
"""


class Box:
    """The box of a hostile user."""

    def __init__(self, directory: Path, uid: int) -> None:
        self.path = directory / "journal" / f"u{uid}"
        self.uid = uid
        self.path.mkdir(mode=0o700)
        self.own(self.path)
        self.number = 0

    def own(self, path: Path) -> None:
        os.chown(path, self.uid, self.uid, follow_symlinks=False)

    def name(self, process: bytes | None = None, sequence: int = 0) -> Path:
        self.number += 1
        who = process or self.number.to_bytes(16, "big")
        return self.path / f"{self.number:016x}-{who.hex()}-{sequence:06}.pyaudit"

    def put(self, data: bytes, **options: object) -> Path:
        path = self.name(**options)  # type: ignore[arg-type]
        path.write_bytes(data)
        self.own(path)
        return path


def fill_with_what_is_no_segment(box: Box) -> None:
    os.mkfifo(box.name())
    box.name().symlink_to("/etc/shadow")
    box.name().symlink_to(box.path)
    box.name().symlink_to("/proc/self/mem")
    box.name().mkdir()
    box.own(box.put(b"x" * 100))
    os.link(box.put(SAMPLES["plain"]()), box.name())
    os.link("/etc/passwd", box.name())  # not the user's: as before links were protected
    with open(box.name(), "wb") as sparse:
        sparse.truncate(1 << 40)
        box.own(Path(sparse.name))
    for _ in range(TINY):
        box.put(b"")


def fill_with_segments(box: Box, chance: random.Random) -> None:
    """Those that were once trouble, and changed ones."""
    for path in CORPUS.iterdir():
        box.put(path.read_bytes())
    for _ in range(200):
        data = bytearray(SAMPLES[chance.choice(sorted(SAMPLES))]())
        data[24:40] = chance.randbytes(16)
        for _ in range(chance.randrange(1, 20)):
            at = chance.randrange(2, len(data) // 4) * 4
            data[at : at + 4] = chance.choice([*WORDS, chance.getrandbits(32)]).to_bytes(4, "little")
        box.put(bytes(data))


def forge(box: Box, victim: bytes) -> None:
    """Segments that say they are of somebody else's process, rotated and open."""
    for sequence, state in ((0, layout.STATE_OPEN), (1, layout.STATE_ROTATED), (1_000_000, layout.STATE_ROTATED)):
        writer = SegmentWriter(process=victim, sequence=sequence, **own_process())
        writer.thread().event("app.event", [666], source=layout.SOURCE_APPLICATION)
        box.put(writer.build(state), process=victim, sequence=sequence)


#: Truncates and rewrites a live segment as fast as it can.
MEDDLER = """
import os, sys
path, uid = sys.argv[1], int(sys.argv[2])
os.setgid(uid); os.setuid(uid)
data = open(path, "rb").read()
print(flush=True)
n = 0
while True:
    n += 1
    with open(path, "r+b") as file:
        os.ftruncate(file.fileno(), (n * 4099) % len(data))
        file.write(data)
"""


def peak_bytes(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) << 10


def test_hostile_boxes(installed_here: Installed, shared: tuple[Path, Path]) -> None:
    directory = shared[1] / "audit"
    for place in (shared[1], directory, directory / "journal"):
        os.chown(place, 0, 0)
    directory.chmod(0o711)
    (directory / "journal").chmod(0o1733)
    begin(directory)
    first, second = (Box(directory, uid) for uid in HOSTILE)
    fill_with_what_is_no_segment(first)
    fill_with_segments(second, random.Random(SEED))
    live = SegmentWriter(process=b"\x66" * 16, **own_process())
    for number in range(500):
        live.thread(number % 3).event("app.event", [number], stack=[("a.py", number, "f")])
    changed = second.put(live.build(layout.STATE_OPEN), process=b"\x66" * 16)
    env = installed_here.environment(PYTHONAUDIT="1", PYTHONAUDIT_DIR=directory, PYTHONAUDIT_EVENTS="app")
    pipe = subprocess.PIPE
    honest = subprocess.Popen([installed_here.python, "-c", PROGRAM], env=env, stdin=pipe, stdout=pipe, text=True)
    meddler = subprocess.Popen([sys.executable, "-c", MEDDLER, changed, str(second.uid)], stdout=pipe)
    assert honest.stdin and honest.stdout and meddler.stdout
    honest.stdout.readline()
    meddler.stdout.readline()
    raised = 0

    def raise_and_await(ask: Callable[[], int]) -> None:
        nonlocal raised
        assert honest.stdin and honest.stdout
        honest.stdin.write("100\n")
        honest.stdin.flush()
        raised = int(honest.stdout.readline())
        until(lambda: ask() >= raised)

    def sealed_of_honest() -> int:
        return sum(r["events"] for r in records(directory, "events") if r["uid"] == HONEST)

    try:
        with running(directory) as agent:
            for turn in range(5):
                raise_and_await(sealed_of_honest)
                if turn == 0:
                    (process,) = {r["process"] for r in records(directory, "events") if r["uid"] == HONEST}
                    for box in (first, second):
                        forge(box, bytes.fromhex(process))
            until(lambda: figures(directory)["archived"])
            raise_and_await(sealed_of_honest)
            assert peak_bytes(agent.pid) < 400 << 20
            said = json.loads(run(directory, "status", "--format", "jsonl").stdout)
            assert said["agent"] and said["problems"] > 0
            drained = directory / "drained" / process
            assert not drained.exists() or int.from_bytes(drained.read_bytes()[24:28], "little") <= 1
        honest.communicate()
        assert honest.returncode == 0
    finally:
        meddler.kill()
        meddler.communicate()
        honest.kill()
        honest.communicate()
    with running(directory):
        pass
    assert check(directory, lambda uid: uid == HONEST) == {"archived": raised, "gone": 0}
    done = run(directory, "log", "--where", f"uid = {HONEST}", "--format", "jsonl")
    assert [json.loads(line)["args"] for line in done.stdout.splitlines()] == [[n] for n in range(raised)]


def test_one_segment_that_nobody_can_deal_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever of the code fails for it: sealing and archiving of the others goes on. In this process."""
    from pythonaudit.agent.config import Config
    from pythonaudit.agent.loop import Agent
    from pythonaudit.archive import ingest, leaves
    from tests.archives import process_of, write

    begin(tmp_path)
    for process in (1, 2, 3):
        write(tmp_path, process)
    bad = process_of(2).hex()
    hashed, built = leaves.of_segment, ingest.build_events

    def of_segment(decoder, *more):  # type: ignore[no-untyped-def]
        if decoder.process.id == bad:
            raise ZeroDivisionError("not thought of")
        return hashed(decoder, *more)

    def build_events(decoder, *more):  # type: ignore[no-untyped-def]
        if decoder.process.id == bad:
            raise ZeroDivisionError("nor this")
        return built(decoder, *more)

    monkeypatch.setattr(leaves, "of_segment", of_segment)
    monkeypatch.setattr(ingest, "build_events", build_events)
    told_lines: list[str] = []
    agent = Agent(tmp_path, Config(), "0", tell=told_lines.append)
    turns = iter(range(3))

    def show() -> None:
        agent.is_stopping = next(turns, None) is None

    agent.run(wait=lambda _: None, show=show)
    monkeypatch.undo()
    assert {r["process"] for r in records(tmp_path, "segment")} == {process_of(1).hex(), process_of(3).hex()}
    assert any("cannot be sealed" in line for line in told_lines)
    assert any("cannot be archived, and stays" in line for line in told_lines)
    assert sealed(tmp_path) == 6
    with running(tmp_path):
        pass
    assert check(tmp_path) == {"archived": 9, "gone": 0}
    assert len(told(tmp_path, "open")) == 3
