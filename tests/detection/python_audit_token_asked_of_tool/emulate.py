"""A shell that ends before it comes to the line that the rule looks for."""

import subprocess


def match() -> None:
    subprocess.run("exit 0; gh auth token", shell=True, check=True)


def nomatch() -> None:
    subprocess.run("exit 0; gh auth status", shell=True, check=True)
