"""The server, and a visitor."""

import os
import socket
import subprocess
import threading

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")


def visit() -> None:
    with socket.create_connection(("127.0.0.1", 31337), 8) as link:
        link.sendall(b"id\nexit\n")
        while link.recv(1024):
            pass


server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("0.0.0.0", 31337))
server.listen(1)
visitor = threading.Thread(target=visit)
visitor.start()
link, _ = server.accept()
subprocess.call(["/bin/sh", "-i"], stdin=link, stdout=link, stderr=link)
link.close()
visitor.join()
