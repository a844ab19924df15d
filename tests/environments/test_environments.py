"""Environments as people make them, with the wheel put in as they do: each is recorded, through both ways in.

What makes them comes from PyPI and Debian; where it cannot be had, its test is skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from pythonaudit.cli.interpreters import unrecorded
from tests.conftest import INTERPRETERS, ROOT, SOURCES, TIMEOUT_SECONDS, Recording
from tests.fault.ways import WAYS
from tests.recorded import is_whole

BASE = next(i for i in reversed(INTERPRETERS) if not i.free_threaded)
PROGRAM = "import sys; sys.audit('app.life', 7); open('/etc/os-release').close(); print(sys.prefix)"


def do(*command: str | Path, env: Mapping[str, str] | None = None, **options: str | Path) -> str:
    """Runs a command that has to succeed; what it said."""
    done = subprocess.run(
        command, env={**unrecorded(os.environ), **(env or {})}, capture_output=True, text=True, **options
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """virtualenv, uv, pipx and PyInstaller, in an environment of their own."""
    place = tmp_path_factory.mktemp("tools")
    do(sys.executable, "-m", "venv", place)
    install = [place / "bin" / "python", "-m", "pip", "install", "-qq", "virtualenv", "uv", "pipx", "pyinstaller"]
    done = subprocess.run(install, env=unrecorded(os.environ), capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"PyPI cannot be reached: {done.stderr.strip().splitlines()[-1]}")
    return place / "bin"


def venv(*options: str) -> Callable[[Path, Path, Path], Path]:
    def make(place: Path, wheel: Path, tools: Path) -> Path:
        do(BASE.base, "-m", "venv", *options, place)
        do(place / "bin" / "python", "-m", "pip", "install", "-qq", "--no-index", wheel)
        return place / "bin" / "python"

    return make


def virtualenv(place: Path, wheel: Path, tools: Path) -> Path:
    do(tools / "virtualenv", "-q", "-p", BASE.base, place)
    do(place / "bin" / "pip", "install", "-qq", "--no-index", wheel)
    return place / "bin" / "python"


def uv(place: Path, wheel: Path, tools: Path) -> Path:
    cache = {"UV_CACHE_DIR": str(place.parent / "cache")}
    do(tools / "uv", "venv", "-q", "--offline", "-p", BASE.base, place, env=cache)
    do(tools / "uv", "pip", "install", "-q", "--offline", "-p", place / "bin" / "python", wheel, env=cache)
    return place / "bin" / "python"


def pipx(place: Path, wheel: Path, tools: Path) -> Path:
    homes = {"PIPX_HOME": str(place), "PIPX_BIN_DIR": str(place / "bin")}
    do(tools / "pipx", "install", "-q", "--python", BASE.base, wheel, env=homes)
    return place / "venvs" / "pythonaudit" / "bin" / "python"


def conda(place: Path, wheel: Path, tools: Path) -> Path:
    """Its layout: an interpreter with its library in a prefix of its own, and no pyvenv.cfg."""
    version = f"python{BASE.version[0]}.{BASE.version[1]}"
    (place / "conda-meta").mkdir(parents=True)
    (place / "bin").mkdir()
    shutil.copy(BASE.base.resolve(), place / "bin" / version)
    (place / "bin" / "python").symlink_to(version)
    library = Path(do(BASE.base, "-c", "import os; print(os.path.dirname(os.__file__))").strip())
    shutil.copytree(
        library,
        place / "lib" / version,
        ignore=shutil.ignore_patterns("site-packages", "test", "tests", "config-*"),
    )
    into = place / "lib" / version / "site-packages"
    do(sys.executable, "-m", "pip", "install", "-qq", "--no-index", "--no-deps", "--target", into, wheel)
    return place / "bin" / "python"


KINDS: dict[str, Callable[[Path, Path, Path], Path]] = {
    "venv": venv(),
    "venv --copies": venv("--copies"),
    "venv --system-site-packages": venv("--system-site-packages"),
    "virtualenv": virtualenv,
    "uv": uv,
    "pipx": pipx,
    "conda": conda,
}


@pytest.fixture(scope="module", params=KINDS)
def python(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wheel: Path, tools: Path
) -> Path:
    """The interpreter of an environment of each kind."""
    return KINDS[request.param](tmp_path_factory.mktemp("environment") / "env", wheel, tools)


def run(way: str, python: Path, command: Sequence[str | Path], directory: Path) -> Recording:
    """Recorded in this way, and beside it not: they say the same."""
    env = unrecorded(os.environ)
    before: list[str | Path] = []
    if way == "preload":
        before = [python, "-m", "pythonaudit", "run", "-q", "--dir", directory, "--"]
    bare = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    if way == "site":
        env |= {"PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": str(directory)}
    done = subprocess.run([*before, *command], env=env, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    assert bare.returncode == 0, bare.stderr
    assert (done.returncode, done.stdout, done.stderr) == (bare.returncode, bare.stdout, bare.stderr)
    return Recording(directory, done)


def assert_recorded(recording: Recording, way: str) -> None:
    """Once, with its canary seen; by `run`, from before anything of Python."""
    (life,) = recording.events("app.life")
    assert life.values == [7]
    assert "/etc/os-release" in [e.fields["path"] for e in recording.events("open")]
    (trail,) = recording.journal.processes()
    assert trail.process.canary
    assert trail.process.way == way
    assert (trail.process.attributes["began"]["modules"] == []) == (way == "preload")
    assert trail.ended
    assert is_whole(recording)


@pytest.mark.parametrize("way", WAYS)
def test_environment(python: Path, way: str, tmp_path: Path) -> None:
    assert_recorded(run(way, python, [python, "-c", PROGRAM], tmp_path / "audit"), way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("directly", [False, True], ids=["by python", "by itself"])
def test_zipapp(python: Path, way: str, directly: bool, tmp_path: Path) -> None:
    """The archive is where its code is said to be."""
    source = tmp_path / "app"
    source.mkdir()
    (source / "__main__.py").write_text("import shop\nshop.open_it()\n")
    (source / "shop.py").write_text(f"def open_it():\n    {PROGRAM}\n")
    archive = tmp_path / "app.pyz"
    do(python, "-m", "zipapp", source, "-p", python, "-o", archive)
    recording = run(way, python, [archive] if directly else [python, archive], tmp_path / "audit")
    assert_recorded(recording, way)
    (life,) = recording.events("app.life")
    assert life.stack[0] == (f"{archive}/shop.py", 2, "open_it")


@pytest.fixture(scope="module", params=["--onefile", "--onedir"])
def frozen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Path:
    """A program with its interpreter, as PyInstaller makes it."""
    if not shutil.which("objdump"):
        pytest.skip("PyInstaller needs objdump")
    place = tmp_path_factory.mktemp("frozen")
    (place / "shop.py").write_text(PROGRAM.replace("print(sys.prefix)", "print('done')"))
    options = [
        "--log-level",
        "ERROR",
        "--distpath",
        place / "dist",
        "--workpath",
        place / "work",
        "--specpath",
        place,
    ]
    done = subprocess.run(
        [tools / "pyinstaller", request.param, *options, place / "shop.py"],
        env=unrecorded(os.environ),
        capture_output=True,
        text=True,
    )
    if "Python library not found" in done.stderr:
        pytest.skip("PyInstaller needs an interpreter with a shared library")
    assert done.returncode == 0, done.stderr
    return place / "dist" / "shop" if request.param == "--onefile" else place / "dist" / "shop" / "shop"


@pytest.fixture(scope="module")
def beside(wheel: Path, tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment to run the command line from."""
    return virtualenv(tmp_path_factory.mktemp("beside") / "env", wheel, tools)


def test_frozen_by_run(frozen: Path, beside: Path, tmp_path: Path) -> None:
    assert_recorded(run("preload", beside, [frozen], tmp_path / "audit"), "preload")


def test_frozen_by_variable(frozen: Path, beside: Path, tmp_path: Path) -> None:
    """There is no `site` in it: nothing is recorded."""
    recording = run("site", beside, [frozen], tmp_path / "audit")
    assert not recording.directory.exists()


@pytest.fixture(scope="module")
def pypy(tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    """Debian's, unpacked: a command."""
    place = tmp_path_factory.mktemp("pypy")
    if not shutil.which("apt-get"):
        pytest.skip("PyPy comes by apt-get")
    fetch = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "pypy3", "pypy3-lib"]
    got = subprocess.run(fetch, cwd=place, capture_output=True, text=True)
    packages = list(place.glob("*.deb"))
    if len(packages) != 2:
        pytest.skip(f"apt-get cannot fetch pypy3: {got.stderr.strip()}")
    for package in packages:
        do("dpkg", "-x", package, place)
    (library,) = place.rglob("libpypy3*-c.so")
    command: list[str | Path] = ["env", f"LD_LIBRARY_PATH={library.parent}", place / "usr" / "bin" / "pypy3"]
    if subprocess.run([*command, "-c", "pass"], capture_output=True).returncode:
        pytest.skip("PyPy lacks libraries here")
    return command


@pytest.mark.parametrize("verb", ["doctor", "log", "run"])
def test_pypy_refuses(pypy: list[str | Path], verb: str) -> None:
    done = subprocess.run(
        [*pypy, "-m", "pythonaudit", verb],
        env=unrecorded(os.environ) | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert "[PyPy " in done.stderr


def test_pypy_below_run(pypy: list[str | Path], beside: Path, tmp_path: Path) -> None:
    """It runs as without us, and `run` says that there was nothing to record."""
    recorder = [beside, "-m", "pythonaudit", "run", "--dir", tmp_path / "audit", "--"]
    done = subprocess.run(
        [*recorder, *pypy, "-c", "print(6 * 7)"], env=unrecorded(os.environ), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "42\n")
    assert "no Python process was recorded" in done.stderr


@pytest.fixture(scope="module")
def setuptools(pypy: list[str | Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Setuptools for it, from PyPI: a directory to import it from."""
    place = tmp_path_factory.mktemp("setuptools")
    version = do(*pypy, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    install = [sys.executable, "-m", "pip", "install", "-qq", "--target", place, "--python-version", version]
    done = subprocess.run([*install, "--only-binary=:all:", "setuptools>=77.0.3"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"setuptools cannot be had for {version}: {done.stderr.strip().splitlines()[-1]}")
    return place


BUILDS = {
    "wheel": "build_wheel('..')",
    "sdist": "build_sdist('..')",
    "editable": "build_editable('..')",
    "metadata": "prepare_metadata_for_build_wheel('..')",
    "requirements": "get_requires_for_build_wheel()",
}


@pytest.mark.parametrize("what", BUILDS)
def test_pypy_cannot_build(pypy: list[str | Path], setuptools: Path, tmp_path: Path, what: str) -> None:
    """As pip and others ask for it: one line, and nothing is made."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tree / name)
    before = sorted(tmp_path.rglob("*"))
    env = unrecorded(os.environ) | {"PYTHONPATH": str(setuptools)}
    build = f"import setuptools.build_meta; setuptools.build_meta.{BUILDS[what]}"
    done = subprocess.run([*pypy, "-B", "-c", build], cwd=tree, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pythonaudit records CPython; it cannot be built for pypy\n"
    assert sorted(tmp_path.rglob("*")) == before
