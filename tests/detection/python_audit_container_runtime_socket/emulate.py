"""A socket of that name in a directory of its own, which nobody listens at; and another."""

import contextlib
import os
import socket


def _connect(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
        connection.connect(os.path.abspath(name))


def match() -> None:
    _connect("docker.sock")


def nomatch() -> None:
    _connect("app.sock")
