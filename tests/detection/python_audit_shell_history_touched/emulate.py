"""Files of such names in a home of its own."""

from pathlib import Path

HOME = Path("home")


def _make(name: str) -> Path:
    HOME.mkdir(exist_ok=True)
    path = HOME / name
    path.touch()
    return path


def match() -> None:
    _make(".bash_history").read_text()
    _make(".zsh_history").unlink()


def nomatch() -> None:
    _make(".bash_logout").read_text()
    _make(".zsh_history.lock").unlink()
