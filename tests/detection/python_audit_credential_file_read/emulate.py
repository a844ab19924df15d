"""Files of the names of credential files, with nothing in them, in a home of its own."""

from pathlib import Path

HOME = Path("home")


def match() -> None:
    for name in (".aws/credentials", ".ssh/id_ed25519", ".pypirc"):
        path = HOME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.read_bytes()


def nomatch() -> None:
    for name in (".aws/config", ".ssh/known_hosts", ".ssh/id_ed25519.pub"):
        path = HOME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("nothing\n")
        path.read_bytes()
