"""What the tests share: the interpreters at hand, the wheel, and environments that it is in.

- `interpreter`: runs the test once with each CPython found, 3.10 to 3.15 (PATH and pyenv).
- `newest`: the newest of them, for what is slow and has little to do with the interpreter.
- `wheel`: the distribution, built from a clean copy of the tree; built again only when a file of
  it has changed. Where WHEEL names one, that one.
- `installed`: for each interpreter, a virtual environment with the wheel in it, and helpers that
  run a program there, recorded, and read the journal back with this tree's reader.
- `object_store`: one store of objects for the whole session (`tests/buckets.py`).
- `installed_here`: the same for one interpreter only (the newest), where the version is no matter.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from pythonaudit.cli.interpreters import Interpreter, find_interpreters, unrecorded

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event
    from pythonaudit.journal.reader import Journal
    from tests.buckets import Store

ROOT = Path(__file__).resolve().parent.parent
#: What the wheel is made of.
SOURCES = ("pyproject.toml", "setup.py", "pythonaudit.pth", "README.md", "LICENSE", "src", "native")
NOT_SOURCES = ("*.so", "*.o", "*.egg-info", "__pycache__", "build")
#: A program that has not ended by then hangs (a test's machine may be very slow).
TIMEOUT_SECONDS = 300
#: The same examples each time, so that what fails is what was changed. Others are for SOAK.
settings.register_profile("same", derandomize=True)
if not os.environ.get("SOAK"):
    settings.load_profile("same")
#: Which kind of interpreters WHEEL is for; the wheel of this tree is for those with the GIL.
FREE_THREADED = "-cp313t-" in os.environ.get("WHEEL", "")


def _one_of_each() -> list[Interpreter]:
    """Of each minor version one, the system's own if it has one; with SOAK, all of them."""
    found: dict[object, Interpreter] = {}
    for interpreter in sorted(find_interpreters(), key=lambda i: not i.base.is_relative_to("/usr")):
        if interpreter.supported and interpreter.free_threaded == FREE_THREADED:
            found.setdefault(interpreter.base if os.environ.get("SOAK") else interpreter.version[:2], interpreter)
    return sorted(found.values(), key=lambda i: (i.version, i.base))


INTERPRETERS = _one_of_each()
#: For what is slow and has little to do with the interpreter: the oldest and the newest.
EXTREMES = list(dict.fromkeys((INTERPRETERS[0], INTERPRETERS[-1]))) if INTERPRETERS else []


@pytest.fixture(scope="session", autouse=True)
def tests_are_not_recorded() -> Iterator[None]:
    """A command that a test runs in its own process does not begin to record that process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pythonaudit.cli.access.begin", lambda directory: None)
        yield


@pytest.fixture(
    scope="session",
    params=INTERPRETERS,
    ids=[f"{i.version_text}-{i.base.parent.parent.name}" for i in INTERPRETERS],
)
def interpreter(request: pytest.FixtureRequest) -> Interpreter:
    """Each CPython at hand."""
    found: Interpreter = request.param
    return found


@pytest.fixture(scope="session")
def newest() -> Interpreter:
    """The newest CPython at hand."""
    if not INTERPRETERS:
        pytest.skip("no CPython is at hand")
    return INTERPRETERS[-1]


def _fingerprint(tree: Path) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(p for p in tree.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(tree)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """The wheel of this tree, as `pip wheel` builds it."""
    if "WHEEL" in os.environ:
        return Path(os.environ["WHEEL"])
    tree = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns(*NOT_SOURCES)
            shutil.copytree(source, tree / name, ignore=ignore)
        elif source.exists():
            shutil.copy(source, tree / name)
    assert pytestconfig.cache is not None
    kept = pytestconfig.cache.mkdir("wheel") / _fingerprint(tree)
    if not kept.exists():
        built = tmp_path_factory.mktemp("wheel")
        command = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps"]
        command += ["--no-build-isolation", "--wheel-dir", str(built), str(tree)]
        done = subprocess.run(command, env=unrecorded(os.environ), capture_output=True, text=True)
        assert done.returncode == 0, f"pip wheel failed:\n{done.stdout}{done.stderr}"
        aside = kept.with_name(f"{kept.name}.{os.getpid()}")
        shutil.copytree(built, aside)
        try:
            aside.rename(kept)  # another session may have been faster
        except OSError:
            shutil.rmtree(aside)
    (found,) = kept.glob("*.whl")
    return found


@dataclass(frozen=True)
class Recording:
    """A program that ran with recording on: how it ended and what was recorded."""

    directory: Path
    completed: subprocess.CompletedProcess[str]

    @cached_property
    def journal(self) -> Journal:
        """The journal, read by the reader of this tree."""
        from pythonaudit.journal.reader import Journal

        return Journal(self.directory)

    def events(self, name: str | None = None) -> list[Event]:
        """The events, oldest first: all, or those of exactly this name."""
        return [e for e in self.journal.events() if name is None or e.event == name]


@dataclass(frozen=True)
class Installed:
    """An environment of one interpreter with the wheel installed."""

    interpreter: Interpreter
    prefix: Path
    new_directory: Callable[[], Path]

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.prefix / "bin" / "python"

    @property
    def purelib(self) -> Path:
        """The environment's site-packages."""
        major, minor, _ = self.interpreter.version
        abi = "t" if self.interpreter.free_threaded else ""
        return self.prefix / "lib" / f"python{major}.{minor}{abi}" / "site-packages"

    @property
    def recorder(self) -> Path:
        """The installed recorder for this interpreter."""
        return self.purelib / "pythonaudit" / self.interpreter.recorder_file

    def environment(self, **variables: str | Path) -> dict[str, str]:
        """The test's own environment with no variable of ours but these."""
        return unrecorded(os.environ) | {k: str(v) for k, v in variables.items()}

    def run(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        status: int | None = 0,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Runs the interpreter, not recorded unless `env` says so.

        Args:
            arguments: the interpreter's arguments.
            env: its whole environment; by default the test's without our variables.
            status: the exit status that it must end with; None for any.
            options: further arguments of `subprocess.run`.
        """
        options.setdefault("capture_output", True)
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [self.python, *arguments],
            env=self.environment() if env is None else env,
            text=True,
            errors="surrogateescape",
            timeout=TIMEOUT_SECONDS,
            **options,
        )
        said = f"{done.args} ended with {done.returncode}\n{done.stdout or ''}{done.stderr or ''}"
        assert status is None or done.returncode == status, said
        return done

    def record(
        self,
        code: str | Sequence[str | Path],
        *,
        directory: Path | None = None,
        settings: Mapping[str, str | Path] | None = None,
        status: int | None = 0,
        **options: Any,
    ) -> Recording:
        """Runs a program with PYTHONAUDIT=1 and a private directory.

        Args:
            code: the text of a program, or the interpreter's arguments.
            directory: PYTHONAUDIT_DIR; by default a fresh one.
            settings: further environment variables.
            status: the exit status that it must end with; None for any.
            options: further arguments of `subprocess.run`.
        """
        directory = directory or self.new_directory()
        variables: dict[str, str | Path] = {"PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": directory}
        env = self.environment(**variables | dict(settings or {}))
        arguments = ["-c", code] if isinstance(code, str) else code
        return Recording(directory, self.run(*arguments, env=env, status=status, **options))


@pytest.fixture(scope="session")
def install(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Interpreter], Installed]:
    """Makes a fresh environment of an interpreter with the wheel unpacked in it.

    Unpacked by hand, since pip takes seconds for it; test_installation.py uses pip.
    """

    def make(interpreter: Interpreter) -> Installed:
        prefix = tmp_path_factory.mktemp(f"venv-{interpreter.version_text}-")
        create = [str(interpreter.base), "-m", "venv", "--without-pip", str(prefix)]
        subprocess.run(create, env=unrecorded(os.environ), check=True)
        environment = Installed(interpreter, prefix, lambda: tmp_path_factory.mktemp("audit"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(environment.purelib)
        for data in environment.purelib.glob("*.data/purelib/*"):
            data.rename(environment.purelib / data.name)
        return environment

    return make


@pytest.fixture(scope="session")
def _installations() -> dict[Path, Installed]:
    return {}


@pytest.fixture(scope="session")
def installed(
    interpreter: Interpreter,
    install: Callable[[Interpreter], Installed],
    _installations: dict[Path, Installed],
) -> Installed:
    """For each interpreter, an environment with the wheel; shared, so leave it as it is."""
    if interpreter.base not in _installations:
        _installations[interpreter.base] = install(interpreter)
    return _installations[interpreter.base]


@pytest.fixture(scope="session")
def installed_here(
    newest: Interpreter, install: Callable[[Interpreter], Installed], _installations: dict[Path, Installed]
) -> Installed:
    """The same of the newest interpreter only; shared, so leave it as it is."""
    if newest.base not in _installations:
        _installations[newest.base] = install(newest)
    return _installations[newest.base]


@pytest.fixture(scope="session")
def object_store() -> Iterator[Store]:
    """A store of objects. Its variables are in nobody's environment: `tests.buckets.variables` has them."""
    from tests.buckets import running_store

    with running_store() as store:
        yield store
