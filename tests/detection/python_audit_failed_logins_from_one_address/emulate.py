"""An application that tells of failed logins, by one address and by many."""

import sys


def match() -> None:
    for number in range(10):
        sys.audit(f"Login failed: username=user{number % 3}, ip=198.51.100.7")


def nomatch() -> None:
    for number in range(10):
        sys.audit(f"Login failed: username=user{number % 3}, ip=198.51.100.{number}")
