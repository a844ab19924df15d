"""`pythonaudit diff` on what others wrote: flask, Django and pytest, each twice, in environments of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from pythonaudit.cli.interpreters import Interpreter, unrecorded
from tests import commands
from tests.environments.conftest import Fetch

FLASK = """
import threading, urllib.request
import flask
from werkzeug.serving import make_server
app = flask.Flask(__name__)
@app.route("/")
def index():
    {more}
    return flask.render_template_string("{{{{ x }}}}", x=1)
server = make_server("127.0.0.1", 0, app, threaded=True)
thread = threading.Thread(target=server.serve_forever)
thread.start()
urllib.request.urlopen(f"http://127.0.0.1:{{server.server_port}}/").read()
server.shutdown()
thread.join()
"""

DJANGO = """
import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
settings.configure(
    SECRET_KEY="x" * 50, ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True,
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
)
django.setup()
from django.core.management import call_command
from django.test import Client
def index(request):
    {more}
    return HttpResponse("x")
urlpatterns = [path("", index)]
call_command("migrate", verbosity=0)
assert Client().get("/").status_code == 200
"""

SUITE = """
import os, subprocess, sys, tempfile, time

def test_files(tmp_path):
    (tmp_path / f"{{os.getpid()}}-{{time.time()}}").write_text("x")
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(b"x")

def test_child(monkeypatch, capsys):
    {more}
    subprocess.run([sys.executable, "-c", "pass", str(os.getpid())], check=True)
"""
MORE = "import os; os.system('true of-diff')"


def record(place: Path, label: str, interpreter: Interpreter, packages: Path, files: Mapping[str, str]) -> None:
    """Runs Python on the first of these files, or pytest, in an environment of its own."""
    home = place / label
    shop = home / f"shop-{label}"
    shop.mkdir(parents=True)
    for name, text in files.items():
        (shop / name).write_text(text)
    make = [str(interpreter.base), "-m", "venv", "--without-pip", str(home / "venv")]
    subprocess.run(make, check=True, env=unrecorded(os.environ))
    (site,) = (home / "venv" / "lib").glob("python3*/site-packages")
    shutil.copytree(packages, site, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    first = next(iter(files))
    words = ["-m", "pytest", "-q"] if first.startswith("test_") else [first]
    python = home / "venv" / "bin" / "python"
    arguments = ["run", "-q", "--label", label, "--", str(python), *words]
    scratch = home / "scratch"  # pytest removes what earlier sessions left, if there is anything
    scratch.mkdir()
    done = commands.run(place / "audit", *arguments, cwd=shop, env=commands.environment(TMPDIR=str(scratch)))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("packages", "file", "text"),
    [("flask", "app.py", FLASK), ("django", "app.py", DJANGO), ("pytest", "test_shop.py", SUITE)],
    ids=["flask", "django", "pytest"],
)
def test_only_noise_differs(
    newest: Interpreter, fetch: Fetch, tmp_path: Path, packages: str, file: str, text: str
) -> None:
    fetched = fetch(newest, packages)
    for label, more in (("a", "pass"), ("b", "pass"), ("more", MORE)):
        record(tmp_path, label, newest, fetched, {file: text.format(more=more)})
    quiet = commands.run(tmp_path / "audit", "diff", "a", "b", "--fail")
    assert (quiet.returncode, quiet.stdout.splitlines()[2:], quiet.stderr) == (0, ["no difference"], "")
    lines = commands.run(tmp_path / "audit", "diff", "a", "more", "--format", "jsonl").stdout.splitlines()
    (new,) = (json.loads(line) for line in lines)
    assert (new["change"], new["kind"], new["what"], new["package"]) == ("new", "runs", "true of-diff", ".")
    assert new["file"].endswith(f"/{file}")
