"""Whether a process lives: also of one that nobody has waited for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pythonaudit.journal.liveness import is_running

THREAD = """
import ctypes, sys, threading
threading.Thread(target=sys.stdin.read).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def fields(pid: int) -> list[str]:
    """Those of /proc/PID/stat from the third on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def judge(pid: int) -> bool | None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    return is_running(boot, os.stat("/proc/self/ns/pid").st_ino, pid, int(fields(pid)[19]))


def test_a_process_that_nobody_has_waited_for_is_dead() -> None:
    """Where process 1 waits for nobody, as in many containers, orphans stay like that for good."""
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert fields(process.pid)[0] == "Z"
        assert judge(process.pid) is False


def test_a_process_whose_first_thread_has_ended_lives() -> None:
    with subprocess.Popen([sys.executable, "-c", THREAD], stdin=subprocess.PIPE) as process:
        while fields(process.pid)[0] != "Z":
            assert process.poll() is None
        assert judge(process.pid) is True
        assert process.stdin
        process.stdin.close()
        process.wait()
