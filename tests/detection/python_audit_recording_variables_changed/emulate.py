"""Variables of recording are set and removed in this process, where they have no effect any more."""

import os
import subprocess


def match() -> None:
    os.environ["PYTHONAUDIT"] = "0"
    del os.environ["PYTHONAUDIT"]
    subprocess.run(["env", "-u", "PYTHONAUDIT", "/bin/true"], check=True)


def nomatch() -> None:
    os.environ["PYTHONUTF8"] = "1"
    del os.environ["PYTHONUTF8"]
    subprocess.run(["env", "-u", "PYTHONUTF8", "/bin/true"], check=True)
