"""Files of that name in directories of its own: four different ones, and one four times."""

from pathlib import Path


def _read(place: str) -> None:
    path = Path(place, ".env")
    path.parent.mkdir(exist_ok=True)
    path.touch()
    path.read_text()


def match() -> None:
    for place in ("shop", "blog", "mail", "wiki", "chat"):
        _read(place)


def nomatch() -> None:
    for _ in range(5):
        _read("shop")
