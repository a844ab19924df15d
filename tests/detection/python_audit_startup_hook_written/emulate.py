"""A start-up hook is planted in a directory of packages of its own; a model and a text are saved beside it."""

import contextlib
from pathlib import Path

PACKAGES = Path("lib", "site-packages")


def match() -> None:
    PACKAGES.mkdir(parents=True)
    (PACKAGES / "zz_start.pth").write_text("# nothing\n")
    Path("draft.py").write_text("# nothing\n")
    Path("draft.py").rename(Path("usercustomize.py").absolute())


def nomatch() -> None:
    Path("weights.pth").write_bytes(b"a model of a neural network")
    PACKAGES.mkdir(parents=True)
    (PACKAGES / "notes.txt").write_text("no hook\n")
    with contextlib.suppress(FileNotFoundError):
        (PACKAGES / "known.pth").read_text()
