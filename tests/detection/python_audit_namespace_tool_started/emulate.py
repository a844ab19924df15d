"""The tool is asked for its version."""

import contextlib
import subprocess


def _start(*words: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def match() -> None:
    _start("nsenter", "--version")
    _start("unshare", "--version")


def nomatch() -> None:
    _start("env", "--version")
    _start("/bin/true", "unshare")
