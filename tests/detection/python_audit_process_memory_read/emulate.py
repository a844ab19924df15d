"""What a process may read of itself is opened under its number, and closed again."""

import os


def match() -> None:
    open(f"/proc/{os.getpid()}/mem", "rb", buffering=0).close()
    open(f"/proc/{os.getpid()}/environ", "rb").close()


def nomatch() -> None:
    open(f"/proc/{os.getpid()}/status").close()
    open("/proc/self/environ", "rb").close()
