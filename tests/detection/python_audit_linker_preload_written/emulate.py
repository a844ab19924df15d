"""A file of that name in a directory of its own; the real one is opened in a way that makes nothing, and changes nothing."""

import contextlib
from pathlib import Path

PLACE = Path("image", "etc")


def match() -> None:
    with contextlib.suppress(OSError):
        open("/etc/ld.so.preload", "r+").close()


def nomatch() -> None:
    PLACE.mkdir(parents=True)
    (PLACE / "ld.so.conf").write_text("# nothing\n")
    with contextlib.suppress(OSError):
        open("/etc/ld.so.preload").close()
