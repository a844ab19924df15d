"""A text that is executed connects to this host; and the same text does sums while this file connects."""

import socket

CODE = """
with socket.socket() as connection:
    connection.connect(address)
"""


def match() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        exec(CODE, {"socket": socket, "address": server.getsockname()})


def nomatch() -> None:
    exec("answer = 6 * 7", {})
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as connection:
        connection.connect(server.getsockname())
