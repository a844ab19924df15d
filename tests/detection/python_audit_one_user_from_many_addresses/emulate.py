"""An application that tells of logins of one user, from many addresses and from one."""

import sys


def match() -> None:
    for number in range(5):
        sys.audit(f"User logged in: username=mallory, ip=198.51.100.{number}")


def nomatch() -> None:
    for _ in range(5):
        sys.audit("User logged in: username=mallory, ip=198.51.100.7")
    for number in range(5):
        sys.audit(f"User logged in: username=user{number}, ip=198.51.100.{number}")
