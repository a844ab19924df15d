"""`pythonaudit diff` on real programs: nothing where only noise differs, exactly what one line more does."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pythonaudit.cli.interpreters import Interpreter, unrecorded
from tests import commands
from tests.wheels import build_wheel

#: Files, temporary names, a server on any port, children, pickles, a database, its own id.
PROGRAM = """
import collections, http.server, os, pickle, sqlite3, subprocess, sys, tempfile, threading, urllib.request
import helper
Point = collections.namedtuple("Point", "x y")
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
thread = threading.Thread(target=server.serve_forever)
thread.start()
urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/").read()
server.shutdown()
thread.join()
with tempfile.TemporaryDirectory(prefix="work") as directory:
    open(os.path.join(directory, f"{os.getpid()}.txt"), "w").write("x")
with tempfile.NamedTemporaryFile(dir=".", prefix="report", suffix=".part") as file:
    pass
open(f"/proc/{os.getpid()}/status").close()
subprocess.run([sys.executable, "-c", "import json, sys", str(os.getpid())], check=True)
pickle.loads(pickle.dumps(Point(1, 2)))
sqlite3.connect("shop.sqlite").close()
open("out.txt", "w").close()
sys.audit(f"Order paid: order={os.getpid()}")
"""

#: Further lines, and what each is reported as.
CHANGES: dict[str, tuple[str, set[tuple[str, str]]]] = {
    "file": ('open("report.csv", "w").close()', {("writes", "./report.csv")}),
    "secret": (
        'try: open("/home/alice/.aws/credentials")\nexcept OSError: pass',  # an attempt is enough
        {("reads", "~/.aws/credentials")},
    ),
    "host": (
        'import socket; socket.socket().connect_ex(("127.0.0.9", 8125))',
        {("connects", "127.0.0.9:8125")},
    ),
    "command": ('subprocess.run(["uname", "-a"], stdout=-3)', {("runs", "uname -a"), ("writes", "/dev/null")}),
    "module": ("import colorsys", {("imports", "colorsys")}),
    "code": ("def make(): eval('1 + 1', {})\nmake()", {("evals", "<string> in ./app.py make")}),
    "unpickled": ('pickle.loads(b"cos\\nsystem\\n.")', {("unpickles", "os.system")}),
    "message": ('sys.audit("User deleted: user=joe")', {("says", "User deleted: user=*")}),
}


class Workshop:
    """Runs things in directories, environments and temporary directories that are never the same."""

    def __init__(self, place: Path, interpreter: Interpreter) -> None:
        self.place, self.directory, self._interpreter = place, place / "audit", interpreter
        self._number = 0

    def record(self, label: str, words: Sequence[str], files: dict[str, str], wheels: Sequence[Path] = ()) -> Path:
        """Runs Python with these words, where these files are, under a label; returns the directory of the run."""
        self._number += 1
        home = self.place / f"job-{'x' * self._number}"
        run, temporary = home / f"shop{self._number}", home / "scratch"
        temporary.mkdir(parents=True)
        run.mkdir()
        for name, text in files.items():
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            (run / name).write_text(text)
        make = [str(self._interpreter.base), "-m", "venv", "--without-pip", str(home / "venv")]
        subprocess.run(make, check=True, env=unrecorded(os.environ))
        (site,) = (home / "venv" / "lib").glob("python3*/site-packages")
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as file:
                file.extractall(site)
        words = [word.replace("BASE", str(self._interpreter.base)) for word in words]
        python = words[0] if words[0].startswith("/") else str(home / "venv" / "bin" / "python")
        done = commands.run(
            self.directory,
            *("run", "-q", "--label", label, "--", python, *(words[1:] if words[0].startswith("/") else words)),
            cwd=run,
            env=commands.environment(TMPDIR=str(temporary), PIP_DISABLE_PIP_VERSION_CHECK="1"),
        )
        assert done.returncode == 0, done.stderr
        return run

    def diff(self, *words: str, status: int = 0) -> dict[str, Any]:
        done = commands.run(self.directory, "diff", *words, "--format", "json")
        assert (done.returncode, done.stderr) == (status, "")
        said: dict[str, Any] = json.loads(done.stdout)
        return said


@pytest.fixture
def workshop(tmp_path: Path, newest: Interpreter) -> Workshop:
    return Workshop(tmp_path, newest)


def acts(said: dict[str, Any], side: str = "new") -> set[tuple[str, str]]:
    return {(one["kind"], one["what"]) for one in said[side]}


def shop(*more: str) -> dict[str, str]:
    return {"app.py": PROGRAM + "\n".join(more) + "\n", "helper.py": "X = 1\n", "pyproject.toml": ""}


def test_a_program_elsewhere_is_the_same_and_one_line_more_is_that_line(workshop: Workshop) -> None:
    workshop.record("a", ["app.py"], shop())
    workshop.record("b", ["app.py"], shop())
    said = workshop.diff("a", "b", "--fail")
    assert (said["new"], said["gone"], said["versions"]) == ([], [], [])
    assert said["before"]["events"] > 200
    assert (said["before"]["processes"], said["before"]["lost"]) == (2, 0)

    run = workshop.record("more", ["app.py"], shop(*(line for line, _ in CHANGES.values())))
    said = workshop.diff("a", "more", "--fail", status=1)
    expected = set().union(*(acts for _, acts in CHANGES.values()))
    # What a module brings along, how a process is started: of the version of Python.
    assert {act for act in acts(said) if act[0] not in ("does", "loads")} == expected
    assert said["gone"] == []
    text = (run / "app.py").read_text().splitlines()
    for one in said["new"]:
        assert (one["package"], one["file"], one["count"] > 0) == (".", str(run / "app.py"), True)
        if one["kind"] not in ("does", "loads"):
            (line,) = (line for line, acts in CHANGES.values() if (one["kind"], one["what"]) in acts)
            assert text[one["line"] - 1] in line.splitlines()
    secret = next(one for one in said["new"] if one["what"] == "~/.aws/credentials")
    assert secret["example"] == "/home/alice/.aws/credentials"
    back = workshop.diff("more", "a", "--fail")  # what is gone is no failure
    assert (acts(back), acts(back, "gone")) == (set(), acts(said))


def test_an_update_that_opens_a_file(workshop: Workshop, tmp_path: Path) -> None:
    """What a dependency does stands under its name, with both versions; another version alone is no difference."""
    program = {"app.py": "import demo, quiet\ndemo.fetch()\nquiet.fetch()\n"}
    fetch = "def fetch():\n    open('/etc/hosts').close()\n"
    for label, version, more in (("old", "1.0", ""), ("new", "2.0", "    open('/etc/passwd').close()\n")):
        wheels = [
            build_wheel(tmp_path / "wheels", "Demo_Client", version, {"demo/__init__.py": fetch + more}),
            build_wheel(tmp_path / "wheels", "quiet", version, {"quiet.py": fetch}),
        ]
        workshop.record(label, ["app.py"], program, wheels)
    said = workshop.diff("old", "new", "--fail", status=1)
    (new,) = said["new"]
    assert (new["kind"], new["what"], new["package"], new["versions"]) == (
        *("reads", "/etc/passwd", "Demo_Client"),
        ["2.0"],
    )
    assert new["file"].endswith("/site-packages/demo/__init__.py")
    assert (new["line"], new["function"], said["gone"]) == (3, "fetch", [])
    assert [(one["package"], one["before"], one["after"]) for one in said["versions"]] == [
        ("Demo_Client", ["1.0"], ["2.0"]),
        ("quiet", ["1.0"], ["2.0"]),
    ]
    table = commands.run(workshop.directory, "diff", "old", "new").stdout
    assert "\nDemo_Client 1.0 -> 2.0\n  + reads     /etc/passwd  1x  " in table
    assert table.endswith("\nother versions, nothing else\n  quiet 1.0 -> 2.0\n")
    markdown = commands.run(workshop.directory, "diff", "old", "new", "--format", "markdown").stdout
    assert "\n**`Demo_Client`** `1.0 -> 2.0`\n" in markdown
    assert markdown.endswith("\nVersions: `Demo_Client` `1.0` → `2.0`; `quiet` `1.0` → `2.0`\n")


BACKEND = """
import base64, hashlib, os, subprocess, sys, tempfile, zipfile
def build_wheel(directory, config_settings=None, metadata_directory=None):
    with tempfile.TemporaryDirectory() as scratch:
        open(os.path.join(scratch, "log"), "w").close()
    {more}
    name = "demo_pkg-1.0-py3-none-any.whl"
    files = {{
        "demo_pkg.py": "X = 1",
        "demo_pkg-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: demo-pkg\\nVersion: 1.0\\n",
        "demo_pkg-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    rows = "".join(f"{{file}},," + "\\n" for file in [*files, "demo_pkg-1.0.dist-info/RECORD"])
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
        wheel.writestr("demo_pkg-1.0.dist-info/RECORD", rows)
    return name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def source_distribution(place: Path, more: str) -> Path:
    """A source distribution that brings its own backend."""
    top = place / "demo_pkg-1.0"
    top.mkdir(parents=True)
    (top / "backend.py").write_text(BACKEND.format(more=more))
    (top / "pyproject.toml").write_text(PROJECT)
    (top / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: demo-pkg\nVersion: 1.0\n")
    archive = place / "demo_pkg-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(top, top.name)
    return archive


def test_pip_installs_a_source_distribution(workshop: Workshop, tmp_path: Path) -> None:
    """The files of pip's caches, build environments and work directories have other names each time."""
    for label, more in (
        ("a", "pass"),
        ("b", "pass"),
        ("evil", 'subprocess.run(["uname", "-a"]); open("/etc/hostname").close()'),
    ):
        sdist = source_distribution(tmp_path / "sdists", more)
        words = ["BASE", "-m", "pip", "--python", "../venv/bin/python", "install", "-qq", "--no-index"]
        workshop.record(label, [*words, "--no-cache-dir", str(sdist)], {})
        sdist.unlink()
        for path in sorted(sdist.with_suffix("").with_suffix("").iterdir()):
            path.unlink()
        sdist.with_suffix("").with_suffix("").rmdir()
        (tmp_path / "sdists").rmdir()
    said = workshop.diff("a", "b")
    assert (said["new"], said["gone"]) == ([], [])
    assert said["before"]["processes"] >= 3
    assert {("runs", "uname -a"), ("reads", "/etc/hostname")} <= acts(workshop.diff("a", "evil"))
    assert {one["kind"] for one in workshop.diff("a", "evil")["new"]} <= {"runs", "reads", "does", "evals"}
