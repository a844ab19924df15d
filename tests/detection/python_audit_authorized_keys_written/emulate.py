"""Files of such names in a home of its own."""

import contextlib
from pathlib import Path

PLACE = Path("home", ".ssh")


def match() -> None:
    PLACE.mkdir(parents=True)
    with (PLACE / "authorized_keys").open("a") as keys:
        keys.write("# nothing\n")


def nomatch() -> None:
    PLACE.mkdir(parents=True)
    (PLACE / "known_hosts").write_text("# nothing\n")
    with contextlib.suppress(FileNotFoundError):
        (PLACE / "authorized_keys").read_text()
