"""A device that is not there is opened; and one that is harmless."""

import contextlib


def match() -> None:
    with contextlib.suppress(OSError):
        open("/dev/sdzz9", "rb").close()


def nomatch() -> None:
    for name in ("/dev/null", "/dev/shm/sda"):
        with contextlib.suppress(OSError):
            open(name, "rb").close()
