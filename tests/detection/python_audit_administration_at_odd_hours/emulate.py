"""An application that tells of an act of administration at night, and of an ordinary one."""

import sys

BEGIN = "2026-11-22T02:30:00"


def match() -> None:
    sys.audit("Role changed: username=mallory, role=admin, by=alice")


def nomatch() -> None:
    sys.audit("User logged in: username=alice, ip=198.51.100.7")
