"""A directory that looks like that of an interpreter, and files in it."""

from pathlib import Path

LIBRARY = Path("prefix", "lib", "python3.11")


def match() -> None:
    (LIBRARY / "json").mkdir(parents=True)
    (LIBRARY / "json" / "decoder.py").write_text("# nothing\n")


def nomatch() -> None:
    for place in (LIBRARY / "json" / "__pycache__", LIBRARY / "site-packages" / "demo"):
        place.mkdir(parents=True)
    (LIBRARY / "json" / "__pycache__" / "decoder.cpython-311.pyc").write_bytes(b"")
    (LIBRARY / "site-packages" / "demo" / "__init__.py").write_text("# nothing\n")
