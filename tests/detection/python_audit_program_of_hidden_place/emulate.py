"""A copy of /bin/true is started from memory that is shared by all; and from a place of its own."""

import contextlib
import shutil
import subprocess
from pathlib import Path

PLACE = Path("/dev/shm/python-audit-sample")


def _start(place: Path) -> None:
    shutil.copy("/bin/true", place)
    try:
        with contextlib.suppress(PermissionError):  # where nothing may be executed from there, it was tried
            subprocess.run([str(place.absolute())], check=True)
    finally:
        place.unlink()


def match() -> None:
    _start(PLACE)


def nomatch() -> None:
    _start(Path("tool"))
