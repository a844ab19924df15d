"""A shell on a pseudo-terminal, which ends at once; another program there, and a shell without one."""

import pty
import subprocess


def match() -> None:
    pty.spawn(["/bin/sh", "-c", "exit 0"])


def nomatch() -> None:
    pty.spawn(["/bin/true"])
    subprocess.run(["/bin/sh", "-c", "exit 0"], check=True)
