"""Whether a process that recorded lives: judged from within its own pid namespace only."""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from pathlib import Path


def is_running(boot: str, pid_namespace: int, pid: int, pid_start: int) -> bool | None:
    """Whether it lives; None where that cannot be judged (another pid namespace).

    Args:
        boot: id of the boot that it belongs to, 32 hexadecimal digits; another boot's are dead.
        pid_namespace: the namespace's inode.
        pid: in that namespace.
        pid_start: field 22 of /proc/PID/stat, clock ticks since boot (proc(5)).
    """
    if boot != _this_boot():
        return False
    if pid_namespace != _pid_namespace():
        return None
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    state, *fields = status.rpartition(")")[2].split()
    threads, start = int(fields[16]), int(fields[18])
    if state in "ZX" and threads < 2:  # nobody has waited for it; with further threads, only its first has ended
        return False
    return start == pid_start or not _counts_as_we_do(pid)


def is_here(host: str | None, pid_namespace: int) -> bool:
    """Whether a process saw the files that are seen here, as far as can be told: not in another container or host.

    Args:
        host: name of its host.
        pid_namespace: the namespace's inode; 0: unknown.
    """
    return host == socket.gethostname() and pid_namespace in (0, _pid_namespace())


def _counts_as_we_do(pid: int) -> bool:
    """Start times are told as the clock of the time namespace of whoever asks has it."""
    try:
        return os.stat(f"/proc/{pid}/ns/time").st_ino == os.stat("/proc/self/ns/time").st_ino
    except OSError:
        return True


@lru_cache
def _this_boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")


@lru_cache
def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino
