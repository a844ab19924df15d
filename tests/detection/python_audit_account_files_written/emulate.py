"""A file that is not there is opened to be changed, which makes nothing; one of the same name is made elsewhere."""

import contextlib
from pathlib import Path

PLACE = Path("image", "etc", "sudoers.d")


def match() -> None:
    with contextlib.suppress(OSError):
        open("/etc/sudoers.d/there-is-none", "r+").close()


def nomatch() -> None:
    PLACE.mkdir(parents=True)
    (PLACE / "user").write_text("# nothing\n")
    open("/etc/passwd").close()
