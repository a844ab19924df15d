"""An application that tells of logins of one user, which fail until one succeeds; and of two users."""

import sys


def _fail(name: str) -> None:
    for _ in range(5):
        sys.audit(f"Login failed: username={name}, ip=198.51.100.7")


def match() -> None:
    _fail("alice")
    sys.audit("User logged in: username=alice, ip=198.51.100.7")


def nomatch() -> None:
    sys.audit("User logged in: username=alice, ip=198.51.100.7")
    _fail("alice")
    sys.audit("User logged in: username=bob, ip=198.51.100.7")
