"""A directory that looks like that of a journal, and files in it."""

from pathlib import Path

PLACE = Path("log", "pythonaudit", "journal", "u1000")


def match() -> None:
    PLACE.mkdir(parents=True)
    segment = PLACE / "0.pyaudit"
    segment.write_bytes(b"")
    segment.unlink()


def nomatch() -> None:
    PLACE.mkdir(parents=True)
    list(PLACE.iterdir())
    other = Path("log", "other.log")
    other.write_bytes(b"")
    other.unlink()
