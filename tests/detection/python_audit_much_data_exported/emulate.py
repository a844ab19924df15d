"""An application that tells of exports: of many rows in all, and of few."""

import sys


def match() -> None:
    for _ in range(4):
        sys.audit("app.data.exported", {"username": "mallory", "rows": 30000})


def nomatch() -> None:
    for name in ("alice", "bob", "carol", "dave"):
        sys.audit("app.data.exported", {"username": name, "rows": 30000})
