"""An answer of this host is executed; and one is only kept, with other code executed by another file."""

import collections
import http.server
import threading
import urllib.request


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"answer = 42")

    def log_message(self, format: str, *args: object) -> None:
        pass


def _fetch() -> bytes:
    with http.server.HTTPServer(("127.0.0.1", 0), _Answer) as server:
        threading.Thread(target=server.handle_request).start()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/") as answer:
            text: bytes = answer.read()
            return text


def match() -> None:
    exec(_fetch(), {})


def nomatch() -> None:
    _fetch()
    collections.namedtuple("Point", "x y")
