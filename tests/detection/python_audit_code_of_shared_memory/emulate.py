"""A module is imported from memory that is shared by all; and one from a place of its own."""

import shutil
import sys
from pathlib import Path

PLACE = Path("/dev/shm/python-audit-sample-code")


def _import(place: Path, name: str) -> None:
    place.mkdir(exist_ok=True)
    (place / f"{name}.py").write_text("answer = 42\n")
    sys.path.insert(0, str(place.absolute()))
    try:
        __import__(name)
    finally:
        sys.path.pop(0)
        shutil.rmtree(place)


def match() -> None:
    _import(PLACE, "sample_of_shared_memory")


def nomatch() -> None:
    _import(Path("own"), "sample_of_own")
