"""A .start file is written into a directory of packages of its own; one of that name lies elsewhere, one is read."""

import contextlib
from pathlib import Path

PACKAGES = Path("lib", "site-packages")


def match() -> None:
    PACKAGES.mkdir(parents=True)
    (PACKAGES / "zz_helper.start").write_text("# nothing\n")


def nomatch() -> None:
    PACKAGES.mkdir(parents=True)
    Path("engine.start").write_text("# nothing\n")
    with contextlib.suppress(FileNotFoundError):
        (PACKAGES / "known.start").read_text()
