"""A small application that logs users in and out.

It knows nothing of pythonaudit: it imports the standard library only, and says what happens in it
with `sys.audit`, which costs next to nothing while nobody records.
"""

import socket
import subprocess
import sys
import threading
from pathlib import Path

USERS = {"johndoe": "192.168.0.1", "alice": "192.168.0.7"}


def log_in(username: str, ip: str) -> None:
    sys.audit(f"User logged in: username={username}, ip={ip}")


def log_out(username: str, ip: str) -> None:
    sys.audit(f"User logged out: username={username}, ip={ip}")


def change_password(username: str, password: str) -> None:
    # A mistake that happens: the secret is in the message. It is not in what is recorded.
    sys.audit(f"Password changed: username={username}, password={password}")


def read_profile() -> str:
    return Path("/etc/os-release").read_text(encoding="utf-8")


def list_jobs() -> None:
    subprocess.run([sys.executable, "-c", "print('no jobs')"], check=True)


def send_greeting() -> None:
    """Talks to a server on loopback that echoes one message."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def echo() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(connection.recv(64))

        thread = threading.Thread(target=echo)
        thread.start()
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(b"hello")
            client.recv(64)
        thread.join()


def main() -> None:
    for username, ip in USERS.items():
        log_in(username, ip)
    read_profile()
    list_jobs()
    send_greeting()
    change_password("johndoe", "correct-horse")
    sys.audit("shop.order.paid", {"order": 7, "amount": 12.5})
    for username, ip in USERS.items():
        log_out(username, ip)


if __name__ == "__main__":
    main()
