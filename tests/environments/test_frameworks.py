"""The middlewares, each in the framework that it is for, behind a real server."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pythonaudit.cli.interpreters import Interpreter
from tests.conftest import EXTREMES, INTERPRETERS, Installed, Recording
from tests.environments.conftest import Fetch
from tests.recorded import SOAK, is_whole

#: What differs between versions, the middlewares have little to do with.
SOME = INTERPRETERS if SOAK > 1 else EXTREMES
MADE_UP = re.compile(r"[0-9a-f]{16}")

#: Sends requests to a server that a program has started, and prints what came back.
CLIENT = """
def ask(port, path="/", **headers):
    import urllib.request
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    return urllib.request.urlopen(request, timeout=60).read().decode()
"""


@pytest.fixture(scope="module", params=SOME, ids=lambda interpreter: interpreter.version_text)
def installed(
    request: pytest.FixtureRequest,
    install: Callable[[Interpreter], Installed],
    _installations: dict[Path, Installed],
) -> Installed:
    interpreter: Interpreter = request.param
    if interpreter.base not in _installations:
        _installations[interpreter.base] = install(interpreter)
    return _installations[interpreter.base]


def contexts(recording: Recording) -> dict[str, list[Any]]:
    """The contexts of the events `app.*`, by name, oldest first; ids that were made up are "new"."""
    assert recording.completed.returncode == 0, recording.completed.stderr
    assert is_whole(recording)
    found: dict[str, list[Any]] = {}
    for event in recording.journal.events():
        if event.event.startswith("app."):
            said = event.context
            if MADE_UP.fullmatch(said.get("request", "")):
                said["request"] = "new"
            found.setdefault(event.event[4:], []).append(said)
    return found


def test_wsgiref(installed: Installed) -> None:
    program = (
        CLIENT
        + r"""
import os, sys, tempfile, threading
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.validate import validator
from pythonaudit.recorder.wsgi import ContextMiddleware

class Quiet(WSGIRequestHandler):
    def log_message(self, *args): pass
    def get_environ(self):
        found = super().get_environ()
        if self.headers.get("X-User"):
            found["REMOTE_USER"] = self.headers["X-User"]
        return found

class Closing:
    def __init__(self, parts): self.parts = parts
    def __iter__(self): return self.parts
    def close(self): sys.audit("app.close")

def application(environ, start_response):
    sys.audit("app.called")
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/list":
        return [b"list"]
    if environ["PATH_INFO"] == "/file":
        file = tempfile.TemporaryFile()
        file.write(b"file"); file.seek(0)
        return environ["wsgi.file_wrapper"](file)
    def parts():
        for n in range(2):
            sys.audit("app.part")
            yield b"part"
    return Closing(parts())

def generator(environ, start_response):
    sys.audit("app.generator")
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"whole"

for app in (application, generator):
    server = make_server("127.0.0.1", 0, ContextMiddleware(app), handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    port = server.server_port
    if app is generator:
        assert ask(port, X_Request_ID="g-1") == "whole"
    else:
        assert ask(port, "/list", X_Request_ID="r-17", X_User="johndoe") == "list"
        assert ask(port, "/file") == "file"
        assert ask(port, X_Request_ID="a" * 128 + "; id=2") == "partpart"
    server.shutdown(); thread.join(); server.server_close()
sys.audit("app.after")
"""
    )
    assert contexts(installed.record(program)) == {
        "called": [{"request": "r-17", "user": "johndoe"}, {"request": "new"}, {"request": "new"}],
        "part": [{"request": "new"}] * 2,
        "close": [{"request": "new"}],
        "generator": [{"request": "g-1"}],
        "after": [{}],
    }


def test_flask_behind_gunicorn(installed: Installed, fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "flask_site.py").write_text(
        "import flask, sys\n"
        "from pythonaudit.recorder.wsgi import ContextMiddleware\n"
        "app = flask.Flask('site')\n"
        "app.wsgi_app = ContextMiddleware(app.wsgi_app)\n"
        "@app.route('/<name>')\n"
        "def answer(name):\n"
        "    sys.audit('app.' + name)\n"
        "    return name\n"
    )
    program = (
        CLIENT
        + r"""
import re, subprocess, sys
server = subprocess.Popen([sys.executable, "-m", "gunicorn", "--threads", "2", "-b", "127.0.0.1:0", "flask_site:app"],
                          stderr=subprocess.PIPE, text=True)
said = ""
for line in server.stderr:
    said += line
    found = re.search(r"Listening at: http://127.0.0.1:(\d+)", line)
    if found:
        break
else:
    raise SystemExit(said)
try:
    for n in range(3):
        assert ask(found[1], f"/page{n}", X_Request_ID=f"r-{n}") == f"page{n}"
finally:
    server.terminate()
    server.communicate()
"""
    )
    packages = fetch(installed.interpreter, "flask", "gunicorn")
    recording = installed.record(program, settings={"PYTHONPATH": f"{packages}:{tmp_path}"}, cwd=tmp_path)
    assert contexts(recording) == {f"page{n}": [{"request": f"r-{n}"}] for n in range(3)}


def test_starlette_behind_uvicorn(installed: Installed, fetch: Fetch) -> None:
    program = (
        CLIENT
        + r"""
import asyncio, socket, sys, threading
import uvicorn
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from pythonaudit.recorder.asgi import ContextMiddleware

class Backend(AuthenticationBackend):
    async def authenticate(self, conn):
        if "x-user" in conn.headers:
            return AuthCredentials(["authenticated"]), SimpleUser(conn.headers["x-user"])

gate = {}
async def page(request):
    name = request.path_params["name"]
    sys.audit(f"app.{name}.begin")
    if name in ("a", "b"):  # both are being answered at once
        gate.setdefault("event", asyncio.Event())
        if len(gate) == 2:
            gate["event"].set()
        gate["other"] = True
        await gate["event"].wait()
    sys.audit(f"app.{name}.end")
    return PlainTextResponse(name)

def in_a_thread(request):
    sys.audit("app.thread")
    return PlainTextResponse("thread")

async def streamed(request):
    async def parts():
        sys.audit("app.part")
        yield b"part"
    return StreamingResponse(parts())

from contextlib import asynccontextmanager
@asynccontextmanager
async def lifespan(app):
    sys.audit("app.lifespan")
    yield
app = Starlette(
    routes=[Route("/thread", in_a_thread), Route("/streamed", streamed), Route("/{name}", page)],
    middleware=[Middleware(AuthenticationMiddleware, backend=Backend()), Middleware(ContextMiddleware)],
    lifespan=lifespan,
)
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen()
port = listening.getsockname()[1]
server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
serving = threading.Thread(target=server.run, args=([listening],))
serving.start()
askers = [threading.Thread(target=ask, args=(port, f"/{name}"), kwargs={"X_Request_ID": f"r-{name}", "X_User": name})
          for name in "ab"]
for asker in askers: asker.start()
for asker in askers: asker.join()
assert ask(port, "/c") == "c"
assert ask(port, "/thread", X_Request_ID="t-1") == "thread"
assert ask(port, "/streamed", X_Request_ID="s-1") == "part"
server.should_exit = True
serving.join()
"""
    )
    packages = fetch(installed.interpreter, "starlette", "uvicorn")
    found = contexts(installed.record(program, settings={"PYTHONPATH": packages}))
    for name in "ab":
        for when in ("begin", "end"):
            assert found.pop(f"{name}.{when}") == [{"request": f"r-{name}", "user": name}]
    assert found == {
        "lifespan": [{}],
        "c.begin": [{"request": "new"}],
        "c.end": [{"request": "new"}],
        "thread": [{"request": "t-1"}],
        "part": [{"request": "s-1"}],
    }


DJANGO = r"""
import asyncio, os, sys
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 50, ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "pythonaudit.recorder.django.context_middleware",
    ],
)
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import path

def anonymous(request):
    sys.audit("app.unasked")
    return HttpResponse("x")
def view(request):
    sys.audit("app.before")
    name = request.user.get_username()
    sys.audit("app.asked")
    return HttpResponse(name)
async def async_view(request):
    sys.audit("app.async.before")
    user = await request.auser() if hasattr(request, "auser") else None
    sys.audit("app.async.asked")
    return HttpResponse(user.get_username() if user else "johndoe")
urlpatterns = [path("unasked", anonymous), path("view", view), path("async", async_view)]
call_command("migrate", verbosity=0)
user = User.objects.create_user("johndoe", password="swordfish-9")

client = Client()
assert client.get("/view", headers={"X-Request-ID": "r-1"}).content == b""
client.force_login(user)
with CaptureQueriesContext(connection) as queries:
    client.get("/unasked", headers={"X-Request-ID": "r-2"})
assert len(queries) == 0, "no query that the application would not make"
with CaptureQueriesContext(connection) as queries:
    assert client.get("/view", headers={"X-Request-ID": "r-3"}).content == b"johndoe"
assert len(queries) == 1
sys.audit("app.between")

async def asynchronous():
    client = AsyncClient()
    await (client.aforce_login(user) if hasattr(client, "aforce_login") else asyncio.to_thread(client.force_login, user))
    assert (await client.get("/async", headers={"X-Request-ID": "r-4"})).content == b"johndoe"
    assert (await client.get("/view", headers={"X-Request-ID": "r-5"})).content == b"johndoe"
    sys.audit("app.async.after")
asyncio.run(asynchronous())
"""


def test_django(installed: Installed, fetch: Fetch, tmp_path: Path) -> None:
    packages = fetch(installed.interpreter, "django", "gunicorn")
    settings = {"PYTHONPATH": packages, "DATABASE": tmp_path / "database"}
    found = contexts(installed.record(DJANGO, settings=settings))
    assert found == {
        "unasked": [{"request": "r-2"}],
        "before": [{"request": "r-1"}, {"request": "r-3"}, {"request": "r-5"}],
        "asked": [
            {"request": "r-1"},
            {"request": "r-3", "user": "johndoe"},
            {"request": "r-5", "user": "johndoe"},
        ],
        "between": [{}],
        "async.before": [{"request": "r-4"}],
        "async.asked": [{"request": "r-4", "user": "johndoe"}],
        "async.after": [{}],
    }


@pytest.mark.parametrize("server", ["runserver", "gunicorn"])
def test_django_behind_a_server(installed: Installed, fetch: Fetch, tmp_path: Path, server: str) -> None:
    (tmp_path / "django_site.py").write_text(
        "import sys\n"
        "from django.conf import settings\n"
        "settings.configure(SECRET_KEY='x' * 50, ALLOWED_HOSTS=['*'], ROOT_URLCONF=__name__, DEBUG=False,\n"
        "                   MIDDLEWARE=['pythonaudit.recorder.django.context_middleware'])\n"
        "from django.core.wsgi import get_wsgi_application\n"
        "from django.http import HttpResponse\n"
        "from django.urls import path\n"
        "def view(request, name):\n"
        "    sys.audit('app.' + name)\n"
        "    return HttpResponse(name)\n"
        "urlpatterns = [path('<name>', view)]\n"
        "if __name__ == '__main__':\n"
        "    from django.core.management import execute_from_command_line\n"
        "    execute_from_command_line(sys.argv)\n"
        "else:\n"
        "    application = get_wsgi_application()\n"
    )
    commands = {
        "runserver": '["django_site.py", "runserver", "--noreload", f"127.0.0.1:{port}"]',
        "gunicorn": '["-m", "gunicorn", "-b", f"127.0.0.1:{port}", "django_site"]',
    }
    program = (
        CLIENT
        + rf"""
import socket, subprocess, sys
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
server = subprocess.Popen([sys.executable, *{commands[server]}], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while True:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        break
    except ConnectionRefusedError:
        assert server.poll() is None
try:
    for n in range(3):
        assert ask(port, f"/page{{n}}", X_Request_ID=f"r-{{n}}") == f"page{{n}}"
finally:
    server.terminate()
    server.wait()
"""
    )
    packages = fetch(installed.interpreter, "django", "gunicorn")
    recording = installed.record(program, settings={"PYTHONPATH": packages}, cwd=tmp_path)
    assert contexts(recording) == {f"page{n}": [{"request": f"r-{n}"}] for n in range(3)}
