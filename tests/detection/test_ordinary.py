"""Ordinary work gives no alert of the level medium or above, whatever rules are added."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands import run
from tests.recorded import SOAK

PROJECT = {
    "pyproject.toml": (
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "demo"\nversion = "1"\n'
    ),
    "setup.py": (
        "import subprocess\nfrom setuptools import setup\n"
        "subprocess.run(['/bin/echo', 'describe'], stdout=subprocess.DEVNULL, check=True)\nsetup()\n"
    ),
    "src/demo/__init__.py": "answer = 42\n",
    "tests/test_demo.py": (
        "import collections, os, pickle, subprocess, sys\n"
        "def test_import(tmp_path, monkeypatch):\n"
        "    (tmp_path / 'made.py').write_text('x = 1')\n"
        "    (tmp_path / '.env').write_text('A=1')\n"
        "    monkeypatch.syspath_prepend(tmp_path)\n"
        "    monkeypatch.setenv('PYTHONPATH', str(tmp_path))\n"
        "    import made\n"
        "    assert made.x == 1\n"
        "def test_child():\n"
        "    subprocess.run([sys.executable, '-c', 'pass'], check=True)\n"
        "def test_pickle():\n"
        "    assert pickle.loads(pickle.dumps(collections.Counter('aab')))['a'] == 2\n"
    ),
}

DAILY = """
import collections, compileall, dataclasses, http.server, logging.handlers, pathlib, pickle, shutil, sqlite3
import subprocess, sys, tempfile, threading, timeit, urllib.request

handler = logging.handlers.RotatingFileHandler("app.log", maxBytes=10, backupCount=2)
for text in ("first", "second", "third"):
    handler.emit(logging.makeLogRecord({"msg": text}))

with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
    threading.Thread(target=server.handle_request).start()
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/") as answer:
        answer.read()

names = {}
for number, cell in enumerate(("import math", "x = math.pi", "def f(): return x")):
    exec(compile(cell, f"<cell {number}>", "exec"), names)
Point = collections.namedtuple("Point", "x y")
Line = dataclasses.make_dataclass("Line", ["a", "b"])
pickle.loads(pickle.dumps([collections.Counter("aab"), range(3)]))
timeit.timeit("1 + 1", number=1)
eval("1 + 1")

place = pathlib.Path("package")
place.mkdir()
(place / "__init__.py").write_text("answer = 42")
compileall.compile_dir("package", quiet=2)
import package

pathlib.Path(".env").write_text("A=1")
pathlib.Path(".env").read_text()
sqlite3.connect("app.db").close()
shutil.make_archive("backup", "zip", "package")
with tempfile.TemporaryDirectory() as folder:
    pathlib.Path(folder, "a").touch()
subprocess.run("ls | sort", shell=True, stdout=subprocess.DEVNULL, check=True)
subprocess.run([sys.executable, "-I", "-c", "import json"], check=True)
"""

POOLS = """
import concurrent.futures, multiprocessing, multiprocessing.shared_memory

def work(number):
    return {number: number}

if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            pool.map(work, range(3))
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        list(pool.map(work, range(3)))
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=1)
    memory.close()
    memory.unlink()
"""

WORK = {
    "daily": ["daily.py"],
    "pools": ["pools.py"],
    "environment": ["-m", "venv", "made"],
    "list": ["-m", "pip", "list"],
    "tests": ["-m", "pytest", "-q", "-p", "no:cacheprovider", "project/tests"],
    "wheel": ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "wheels", "./project"],
    "install": ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-t", "there", "./project"],
    "editable": [
        *(
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "--prefix",
            "here",
            "-e",
            "./project",
        ),
    ],
}

OTHER = "import pathlib; pathlib.Path('.bashrc').write_text('')"


def alerts_of(directory: Path) -> list[dict[str, Any]]:
    done = run(directory, "detect", "--level", "medium", "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("work", WORK if SOAK > 1 else ["daily"])
def test_ordinary_work_alarms_nobody(tmp_path: Path, work: str) -> None:
    place, store = tmp_path / "place", tmp_path / "store"
    for name, text in {"daily.py": DAILY, "pools.py": POOLS}.items():
        place.mkdir(exist_ok=True)
        (place / name).write_text(text)
    for name, text in PROJECT.items():
        path = place / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    done = run(store, "run", "--", sys.executable, *WORK[work], cwd=place)
    assert done.returncode == 0, done.stderr
    other = run(store, "run", "--", sys.executable, "-c", OTHER, cwd=place)
    assert other.returncode == 0, other.stderr
    # What is not ordinary is found beside it, and nothing else.
    assert [alert["title"] for alert in alerts_of(store)] == ["Shell Profile Or Scheduled Job Written"]
