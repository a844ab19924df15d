"""Variables are set in this process that only a child would read, and there is none."""

import os


def match() -> None:
    os.environ["PYTHONSTARTUP"] = "/srv/app/start.py"
    os.environ["LD_PRELOAD"] = "/srv/app/none.so"
    del os.environ["LD_PRELOAD"]


def nomatch() -> None:
    os.environ["PYTHONUTF8"] = "1"
    os.environ["LD_BIND_NOW"] = "1"
