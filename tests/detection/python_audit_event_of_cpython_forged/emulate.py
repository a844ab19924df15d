"""An event of a name that belongs to CPython is raised, and one of a name of its own."""

import sys


def match() -> None:
    sys.audit("open", "/srv/app/never-opened", "r", 0)


def nomatch() -> None:
    sys.audit("app.open", "/srv/app/never-opened")
    open("/dev/null").close()
