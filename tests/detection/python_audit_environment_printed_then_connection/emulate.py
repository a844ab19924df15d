"""The environment is printed by a command, then a connection to this host is opened; and both the other way round."""

import socket
import subprocess


def _print() -> None:
    subprocess.run(["printenv"], stdout=subprocess.DEVNULL, check=True)


def _connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as connection:
        connection.connect(server.getsockname())


def match() -> None:
    _print()
    _connect()


def nomatch() -> None:
    _connect()
    _print()
