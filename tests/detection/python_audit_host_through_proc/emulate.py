"""The root directory of the first process of this container is listed, which is its own."""

import contextlib
import os


def match() -> None:
    with contextlib.suppress(OSError):
        os.listdir("/proc/1/root")


def nomatch() -> None:
    with contextlib.suppress(OSError):
        open("/proc/1/status").close()
    os.listdir("/proc/self/fd")
