"""A directory that looks like that of the recorder, and a command line that ends before it comes to the word."""

import subprocess
from pathlib import Path

PACKAGES = Path("lib", "site-packages")


def _remove(name: str) -> None:
    PACKAGES.mkdir(parents=True, exist_ok=True)
    path = PACKAGES / name
    path.touch()
    path.unlink()


def match() -> None:
    _remove("pythonaudit.pth")
    subprocess.run("exit 0; systemctl stop pythonaudit", shell=True, check=True)


def nomatch() -> None:
    _remove("other.pth")
    subprocess.run("exit 0; systemctl status pythonaudit", shell=True, check=True)
