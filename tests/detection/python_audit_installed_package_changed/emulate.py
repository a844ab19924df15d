"""A directory of packages of its own: a module in it is changed, a cache of one is written, one elsewhere is."""

from pathlib import Path

PACKAGES = Path("lib", "site-packages", "demo")


def match() -> None:
    PACKAGES.mkdir(parents=True)
    (PACKAGES / "__init__.py").write_text("# nothing\n")


def nomatch() -> None:
    (PACKAGES / "__pycache__").mkdir(parents=True)
    (PACKAGES / "__pycache__" / "demo.cpython-311.pyc").write_bytes(b"")
    Path("demo.py").write_text("# nothing\n")
