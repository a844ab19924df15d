"""Commands that tell about the host are started, and one of them again and again."""

import subprocess


def _start(*words: str) -> None:
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)


def match() -> None:
    for word in ("whoami", "id", "hostname", "uname", "w"):
        subprocess.run(f"exit 0; {word}", shell=True, check=True)


def nomatch() -> None:
    for _ in range(5):
        _start("uname", "-m")
    _start("id", "-u")
