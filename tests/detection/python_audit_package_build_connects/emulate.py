"""A setup.py that connects to this host; and the same from another file."""

import runpy
import socket
from pathlib import Path

CODE = """
import socket
with socket.socket() as connection:
    connection.connect(("127.0.0.1", port))
"""


def _run(name: str) -> None:
    Path(name).write_text(CODE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        runpy.run_path(name, {"port": server.getsockname()[1]})


def match() -> None:
    _run(str(Path("setup.py").absolute()))


def nomatch() -> None:
    _run(str(Path("client.py").absolute()))
