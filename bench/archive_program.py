"""What bench/archive.py records: events as applications raise them, as fast as they come.

    python archive_program.py SEED EVENTS TREE...

Files are opened and directories listed below the trees; logins, orders with amounts, imports, lookups and
connections to loopback are mixed in. Nothing is written.
"""

import contextlib
import importlib
import os
import random
import socket
import sys

MODULES = ("ast", "base64", "csv", "decimal", "email", "html", "json", "logging", "pickle", "sqlite3", "zipfile")


def work(seed: int, events: int, trees: list[str]) -> None:
    pick = random.Random(seed)
    left = events
    server = socket.create_server(("127.0.0.1", 0))
    while left > 0:
        for tree in trees:
            for directory, _, names in os.walk(tree):
                for name in names:
                    with contextlib.suppress(OSError):
                        os.close(os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NONBLOCK))
                    left -= 1
                    if left % 3 == 0:
                        user, order = pick.randrange(50_000), pick.randrange(1 << 30)
                        sys.audit(f"User logged in: username=user{user}, ip=10.{user >> 8 & 255}.{user & 255}.7")
                        sys.audit("shop.order.paid", {"order": order, "amount": pick.random() * 100})
                        left -= 2
                    if left % 97 == 0:
                        connect(server, pick)
                        left -= 2
                    if left % 1009 == 0:
                        with contextlib.suppress(Exception):
                            importlib.import_module(pick.choice(MODULES))
                    if left <= 0:
                        return


def connect(server: socket.socket, pick: random.Random) -> None:
    with socket.socket() as client:
        client.bind((f"127.0.{pick.randrange(256)}.{pick.randrange(1, 255)}", 0))
        client.connect(server.getsockname())
    server.accept()[0].close()


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
