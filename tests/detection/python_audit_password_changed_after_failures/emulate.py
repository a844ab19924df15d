"""An application that tells of failed logins of one user and that his password was changed; and of two users."""

import sys


def _fail(name: str) -> None:
    for _ in range(5):
        sys.audit(f"Login failed: username={name}, ip=198.51.100.7")


def match() -> None:
    _fail("alice")
    sys.audit("Password changed: username=alice, ip=198.51.100.7")


def nomatch() -> None:
    _fail("alice")
    sys.audit("Password changed: username=bob, ip=198.51.100.7")
