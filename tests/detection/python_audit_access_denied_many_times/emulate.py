"""An application that tells that one user may not what he tries: different things, and one again and again."""

import sys


def match() -> None:
    for number in range(10):
        sys.audit(f"Access denied: username=mallory, path=/orders/{number}")


def nomatch() -> None:
    for _ in range(10):
        sys.audit("Access denied: username=mallory, path=/orders/1")
