"""The numbers of the address are read, which asks nobody: no packet is sent."""

import socket


def match() -> None:
    socket.getaddrinfo("169.254.169.254", 80, flags=socket.AI_NUMERICHOST)


def nomatch() -> None:
    for address in ("127.0.0.1", "169.254.169.25"):
        socket.getaddrinfo(address, 80, flags=socket.AI_NUMERICHOST)
