"""One file of the recorder serves every version, with whichever version's headers it was built."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from pythonaudit.cli.interpreters import Interpreter
from tests.conftest import EXTREMES, ROOT

PROGRAM = """
import sys
from pythonaudit.recorder import startup, status
assert startup.start() == "recording", status()
for n in range(100):
    status()
    startup._recorder.began(b"{}")
sys.audit("app.x")
print(status()["state"])
"""


@cache
def include(interpreter: Interpreter) -> str:
    """The directory of its headers."""
    ask = "import sysconfig; print(sysconfig.get_path('include'))"
    return subprocess.run([interpreter.base, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Interpreter], Path]:
    """Makes the package with a recorder built by the headers of an interpreter, once each."""
    return cache(lambda interpreter: built(interpreter, tmp_path_factory.mktemp("package")))


@pytest.fixture(params=EXTREMES, ids=lambda i: f"headers-{i.version_text}")
def package(request: pytest.FixtureRequest, build: Callable[[Interpreter], Path]) -> Path:
    """The package with a recorder built by the oldest or the newest headers at hand."""
    return build(request.param)


def built(interpreter: Interpreter, directory: Path) -> Path:
    headers = include(interpreter)
    if not Path(headers, "Python.h").exists():
        pytest.skip(f"no headers in {headers}")
    shutil.copytree(ROOT / "src/pythonaudit", directory / "pythonaudit", ignore=shutil.ignore_patterns("*.so"))
    sources = [p for p in (ROOT / "native").glob("*.c") if not p.name.startswith("preload")]
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    flags = ["-std=gnu11", "-O0", "-fPIC", "-shared", "-fvisibility=hidden", "-DPy_LIMITED_API=0x030A0000"]
    target = directory / "pythonaudit/_recorder.abi3.so"
    subprocess.run(
        [compiler, *flags, '-DPA_VERSION="test"', f"-I{headers}", *sources, "-Wl,-z,nodelete", "-o", target],
        check=True,
    )
    return directory


def test_serves_every_version(interpreter: Interpreter, package: Path, tmp_path: Path) -> None:
    """It records, is asked often, and the interpreter ends as always."""
    env = {
        "PYTHONAUDIT": "1",
        "PYTHONAUDIT_DIR": str(tmp_path),
        "PYTHONPATH": str(package),
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run([interpreter.base, "-c", PROGRAM], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "recording\n", "")
