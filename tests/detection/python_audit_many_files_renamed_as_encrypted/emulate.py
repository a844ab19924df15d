"""Files of a directory of its own are given another name; and others other names."""

from pathlib import Path


def _rename(ending: str) -> None:
    place = Path("documents")
    place.mkdir()
    for number in range(10):
        path = place / f"{number}.txt"
        path.touch()
        path.rename(f"{path}{ending}")


def match() -> None:
    _rename(".locked")


def nomatch() -> None:
    _rename(".old")
