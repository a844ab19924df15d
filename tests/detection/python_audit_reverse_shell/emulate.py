"""A connection to this host, then a shell on a pseudo-terminal that ends at once."""

import pty
import socket
import subprocess


def _connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as connection:
        connection.connect(server.getsockname())


def match() -> None:
    _connect()
    pty.spawn(["/bin/sh", "-c", "exit 0"])


def nomatch() -> None:
    pty.spawn(["/bin/sh", "-c", "exit 0"])
    _connect()
    subprocess.run(["/bin/true"], check=True)
