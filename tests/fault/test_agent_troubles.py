"""An agent in trouble: a full disk, clocks that are set, segments that go before it has archived them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.agents import begin, check, figures, records, running, sealed, told, until
from tests.commands import run
from tests.conftest import Installed
from tests.fault.conftest import Disk
from tests.fault.test_clocks import HOUR, PROGRAM
from tests.fault.test_clocks import clock as clock
from tests.fault.ways import ROOT_ONLY
from tests.integration.test_agent import programs


@ROOT_ONLY
def test_disk_full(installed_here: Installed, disk: Disk) -> None:
    """Nothing can be sealed; when there is room again, everything is."""
    directory = disk("audit", "48m")
    begin(directory)
    filler = directory / "filler"
    with running(directory) as agent, programs(installed_here, directory, PYTHONAUDIT_EVENTS="app") as (program,):
        program.raise_events(1000)
        until(lambda: sealed(directory) == 1000)
        with open(filler, "wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(b"x" * 4096)
        program.raise_events(500)  # in the segment that is there
        assert agent.stderr
        said = ""
        while "No space left" not in said:
            said = agent.stderr.readline()
            assert said
        assert said.startswith(("pythonaudit: sealing: ", f"pythonaudit: {directory}"))
        assert agent.poll() is None
        filler.unlink()
        until(lambda: sealed(directory) == 1500)
    assert check(directory) == {"archived": 1500, "gone": 0}
    assert list(told(directory).values()) == [list(range(1500))]


@pytest.mark.parametrize("by", [-HOUR, HOUR])
def test_clocks_are_set(installed_here: Installed, tmp_path: Path, clock: Path, by: int) -> None:
    begin(tmp_path)
    program = f"""
print(flush=True)
raise_events(range(50))
for n in range(6):
    sys.stdin.readline()
    clock.set_clock({by} * ((n + 1) % 2))
    raise_events(range(50 + n * 1000, 1050 + n * 1000))
    print(flush=True)
"""
    settings = {"PYTHONAUDIT": "1", "PYTHONAUDIT_EVENTS": "app", "LD_PRELOAD": str(clock)}
    env = installed_here.environment(PYTHONAUDIT_DIR=tmp_path, **settings)
    command = [installed_here.python, "-c", PROGRAM.format(clock=str(clock)) + program]
    pipe = subprocess.PIPE
    with running(tmp_path), subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()
        for n in range(6):
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()
            until(lambda count=n: sealed(tmp_path) >= 1050 + 1000 * count)
    assert check(tmp_path) == {"archived": 6050, "gone": 0}
    (numbers,) = told(tmp_path).values()
    assert sorted(numbers) == list(range(6050)), "as they were; in the order of clocks that were set"


def test_what_its_process_evicts_is_told(installed_here: Installed, tmp_path: Path) -> None:
    begin(tmp_path)
    limit = {"PYTHONAUDIT_MAX_BYTES": "1M", "PYTHONAUDIT_EVENTS": "app"}
    raised = 0
    with running(tmp_path), programs(installed_here, tmp_path, **limit) as (program,):
        for _ in range(8):
            count = sealed(tmp_path)
            raised = program.raise_events(5000)
            until(lambda count=count: sealed(tmp_path) > count)
        until(lambda: records(tmp_path, "gone"))
    assert {record["reason"] for record in records(tmp_path, "gone")} == {"evicted"}
    total = check(tmp_path)
    assert total["gone"] > 0
    assert total["gone"] + total["archived"] <= raised


def test_what_is_removed_is_told(installed_here: Installed, tmp_path: Path) -> None:
    begin(tmp_path)
    with running(tmp_path) as agent:
        with programs(installed_here, tmp_path, PYTHONAUDIT_EVENTS="app") as (program,):
            program.raise_events(10)
            until(lambda: sealed(tmp_path) == 10)
            for path in (tmp_path / "journal").rglob("*.pyaudit"):
                path.unlink()
            (gone,) = until(lambda: records(tmp_path, "gone"))
            assert (gone["events"], gone["reason"]) == (10, "missing")
        assert agent.stderr
        while "1 sealed segments have gone" not in agent.stderr.readline():
            pass
    assert check(tmp_path) == {"archived": 0, "gone": 10}


@ROOT_ONLY
def test_a_shared_directory_and_no_other_right(installed_here: Installed, shared: tuple[Path, Path]) -> None:
    """As the unit for systemd runs it: root with CAP_DAC_READ_SEARCH, and users who write to their boxes."""
    directory = shared[1] / "audit"
    os.chown(shared[1], 0, 0)
    os.chown(directory, 0, 0)
    directory.chmod(0o711)
    os.chown(directory / "journal", 0, 0)
    (directory / "journal").chmod(0o1733)
    rights = ("setpriv", "--bounding-set=-all,+dac_read_search", "--no-new-privs")
    begin(directory)
    env = installed_here.environment(PYTHONAUDIT="1", PYTHONAUDIT_DIR=directory, PYTHONAUDIT_EVENTS="app")
    program = """
import os, sys
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
if pid := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
for n in range(50_000): sys.audit("app.event", n, "x" * 900)
sys.stdin.readline()
"""
    several = []
    with running(directory, before=rights):
        for uid in (54321, 54322):
            command = [str(installed_here.python), "-c", program, str(uid)]
            several.append(subprocess.Popen(command, env=env, stdin=subprocess.PIPE, cwd="/"))
        until(lambda: sealed(directory) == 100_000)
        until(lambda: figures(directory)["archived"])
        for one in several:
            one.communicate(b"\n")
            assert one.returncode == 0
    assert {record["uid"] for record in records(directory, "segment")} >= {54321, 54322}
    assert check(directory) == {"archived": 100_000, "gone": 0}
    assert len(list((directory / "drained").iterdir())) == 2
    said = json.loads(run(directory, "status", "--format", "jsonl").stdout)
    assert said["unsealed"] == 0
