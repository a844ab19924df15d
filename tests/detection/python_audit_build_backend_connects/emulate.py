"""A hook of a build connects to this host; and the same from another file."""

import runpy
import socket
from pathlib import Path

HOOK = """
import socket
with socket.socket() as connection:
    connection.connect(("127.0.0.1", port))
"""


def _build(name: str) -> None:
    place = Path("pyproject_hooks", "_in_process")
    place.mkdir(parents=True)
    (place / name).write_text(HOOK)
    with socket.create_server(("127.0.0.1", 0)) as server:
        runpy.run_path(str((place / name).absolute()), {"port": server.getsockname()[1]})


def match() -> None:
    _build("_in_process.py")


def nomatch() -> None:
    _build("client.py")
