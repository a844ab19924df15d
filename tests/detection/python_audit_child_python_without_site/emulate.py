"""Another Python is started so, and does nothing."""

import subprocess
import sys


def match() -> None:
    subprocess.run([sys.executable, "-S", "-c", "pass"], env={}, check=True)


def nomatch() -> None:
    subprocess.run([sys.executable, "-c", "pass"], env={}, check=True)
    subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)
    subprocess.run(["/bin/true", "-S"], env={}, check=True)
