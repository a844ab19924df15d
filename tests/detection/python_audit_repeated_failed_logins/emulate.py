"""An application that tells of logins."""

import sys


def match() -> None:
    for _ in range(5):
        sys.audit("Login failed: username=mallory, ip=192.0.2.7")


def nomatch() -> None:
    for name in ("alice", "bob", "carol", "dave", "erin"):
        sys.audit(f"Login failed: username={name}, ip=192.0.2.7")
    for _ in range(5):
        sys.audit("User logged in: username=mallory, ip=192.0.2.7")
