"""Files of this directory are packed and a connection to this host is opened; and both the other way round."""

import shutil
import socket
from pathlib import Path


def _pack() -> None:
    Path("data").mkdir()
    shutil.make_archive("/dev/shm/python-audit-sample", "tar", "data")
    Path("/dev/shm/python-audit-sample.tar").unlink()


def _connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as connection:
        connection.connect(server.getsockname())


def match() -> None:
    _pack()
    _connect()


def nomatch() -> None:
    _connect()
    _pack()
