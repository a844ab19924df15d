"""Events of real programs are of the package that did it: against truth made by hand.

Each package opens a file of its own name; who opened it is then no question.
"""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.cli.interpreters import Interpreter, unrecorded
from pythonaudit.journal.decode import Event
from tests import commands
from tests.archives import archived_journal
from tests.conftest import EXTREMES
from tests.wheels import build_wheel, pip

OPEN = "def act(name):\n    try:\n        open('/nowhere/' + name)\n    except OSError:\n        pass\n"


class Site:
    """An environment with pip, whose programs run recorded by preload."""

    def __init__(self, prefix: Path, wheels: Path) -> None:
        self.prefix, self.wheels = prefix, wheels
        self.python = prefix / "bin" / "python"
        (self.purelib,) = (prefix / "lib").glob("python*/site-packages")

    def install(self, name: str, version: str, files: dict[str, str], *options: str | Path) -> None:
        wheel = build_wheel(self.wheels, name, version, files)
        pip(self.python, "install", "--no-index", "--no-deps", "--force-reinstall", *options, wheel)

    def run(self, directory: Path, program: str, *options: str, cwd: Path | None = None) -> dict[str, Event]:
        """The `open` events of a program, by the name of the file."""
        environment = commands.environment()
        words = ["run", "-q", "--", str(self.python), *options, "-c", program]
        done = commands.run(directory, *words, env=environment, cwd=cwd or directory.parent)
        assert done.returncode == 0, done.stderr
        return opened(directory)


def opened(directory: Path) -> dict[str, Event]:
    events = archived_journal(directory).events()
    names = ((event, event.fields.get("path")) for event in events if event.event == "open")
    return {path[9:]: event for event, path in names if isinstance(path, str) and path.startswith("/nowhere/")}


def editable(source: object) -> str:
    """What pip writes down of an editable install (PEP 610)."""
    return json.dumps({"dir_info": {"editable": True}, "url": f"file://{source}"})


def told(event: Event) -> str:
    package = event.package
    return " ".join(filter(None, (package.name, package.version))) if package else ""


@pytest.fixture(scope="module", params=EXTREMES, ids=lambda interpreter: interpreter.version_text)
def interpreter(request: pytest.FixtureRequest) -> Interpreter:
    """The oldest and the newest: it takes long."""
    found: Interpreter = request.param
    return found


@pytest.fixture(scope="module")
def site(interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Site:
    place = tmp_path_factory.mktemp("site")
    command = [str(interpreter.base), "-m", "venv", str(place / "venv")]
    subprocess.run(command, env=unrecorded(os.environ), check=True)
    return Site(place / "venv", place / "wheels")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_wheels_vendored_and_namespaces(site: Site, store: Path) -> None:
    site.install("first-lib", "1.2", {"first_lib/__init__.py": OPEN, "first_lib/_vendor/other/__init__.py": OPEN})
    site.install("single", "3.0.post1", {"single.py": OPEN})
    site.install("space-one", "1.0", {"space/one/__init__.py": OPEN})
    site.install("space-two", "2.0", {"space/two.py": OPEN})
    program = (
        "import first_lib, single, space.one, space.two\n"
        "import first_lib._vendor.other as vendored\n"
        "for module in (first_lib, single, space.one, space.two, vendored): module.act(module.__name__)\n"
    )
    found = {name: told(event) for name, event in site.run(store, program).items()}
    assert found == {
        "first_lib": "first-lib 1.2",
        "single": "single 3.0.post1",
        "space.one": "space-one 1.0",
        "space.two": "space-two 2.0",
        "first_lib._vendor.other": "first-lib 1.2",
    }


def test_pip_is_who_runs_what_it_has_vendored(site: Site, store: Path) -> None:
    environment = commands.environment()
    words = ["run", "-q", "--", str(site.python), "-m", "pip", "list", "--disable-pip-version-check"]
    assert commands.run(store, *words, env=environment).returncode == 0
    vendored = [
        event
        for event in archived_journal(store).events()
        if event.code_frame and "/pip/_vendor/" in event.code_frame[0]
    ]
    assert len(vendored) > 50
    assert {event.package.name for event in vendored if event.package} == {"pip"}


def test_callers_and_the_standard_library(site: Site, store: Path) -> None:
    """Whoever calls the standard library did it; whoever is called by another one did it himself."""
    site.install("inner", "1.0", {"inner.py": OPEN})
    body = "import inner, pathlib\ndef act():\n    inner.act('by-inner')\n"
    body += "    pathlib.Path('/nowhere/by-outer').exists()\n"
    body += "    try: pathlib.Path('/nowhere/by-outer').read_text()\n    except OSError: pass\n"
    site.install("outer", "2.0", {"outer.py": body})
    found = site.run(store, "import outer; outer.act()")
    assert {name: told(event) for name, event in found.items()} == {
        "by-inner": "inner 1.0",
        "by-outer": "outer 2.0",
    }
    assert found["by-outer"].code_frame[0].endswith("/outer.py")


def test_code_that_is_made_at_run_time(site: Site, store: Path) -> None:
    maker = f"SOURCE = {OPEN!r}\n"
    maker += "def make():\n    space = {}\n    exec(compile(SOURCE, '<made by maker>', 'exec'), space)\n"
    maker += "    return space['act']\n"
    maker += "def run(text):\n    exec(text, {})\n"
    site.install("maker", "1.0", {"maker.py": maker})
    site.install("user", "2.0", {"user.py": "def call(function, name):\n    function(name)\n"})
    program = (
        "import maker, user\n"
        "user.call(maker.make(), 'called-by-user')\n"
        "maker.run('try: open(\"/nowhere/executed\")\\nexcept OSError: pass')\n"
    )
    found = {name: told(event) for name, event in site.run(store, program).items()}
    assert found == {"called-by-user": "maker 1.0", "executed": "maker 1.0"}


def test_zip_files(site: Site, store: Path, tmp_path: Path) -> None:
    for name, metadata in (("plain.zip", {}), ("dist.zip", {"packed-2.5.dist-info/METADATA": "Packed 2.5"})):
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            file.writestr(f"{name[:-4]}_module.py", OPEN)
            for member, text in metadata.items():
                label, version = text.split()
                file.writestr(member, f"Metadata-Version: 2.1\nName: {label}\nVersion: {version}\n\nBody")
    program = (
        f"import sys; sys.path[:0] = [{str(tmp_path / 'plain.zip')!r}, {str(tmp_path / 'dist.zip')!r}]\n"
        "import plain_module, dist_module; plain_module.act('plain'); dist_module.act('dist')\n"
    )
    found = {name: told(event) for name, event in site.run(store, program).items()}
    assert found == {"plain": "plain.zip", "dist": "Packed 2.5"}


def test_projects(site: Site, store: Path, tmp_path: Path) -> None:
    for name in ("toml/src", "git/deep/er", "bare"):
        (tmp_path / "code" / name).mkdir(parents=True)
        (tmp_path / "code" / name / f"in_{name.split('/')[0]}.py").write_text(OPEN)
    (tmp_path / "code/toml/pyproject.toml").write_text('[build-system]\nname = "no"\n[project]\nname = "shop"\n')
    (tmp_path / "code/git/.git").mkdir()
    path = [str(tmp_path / "code" / name) for name in ("toml/src", "git/deep/er", "bare")]
    program = f"import sys; sys.path[:0] = {path!r}\nimport in_toml, in_git, in_bare\n"
    program += "for module in (in_toml, in_git, in_bare): module.act(module.__name__)\n"
    found = {name: told(event) for name, event in site.run(store, program).items()}
    assert found == {"in_toml": "shop", "in_git": "git", "in_bare": "bare"}


@pytest.mark.parametrize("hooked", [False, True], ids=["by-pth", "by-finder"])
def test_editable_installs(site: Site, store: Path, tmp_path: Path, hooked: bool) -> None:
    """What pip leaves for one: a path, or a finder, in site-packages; the code stays in its project."""
    name = f"edited{hooked:d}"
    (tmp_path / "project" / name).mkdir(parents=True)
    (tmp_path / "project" / name / "__init__.py").write_text(OPEN)
    source = str(tmp_path / "project")
    if hooked:
        finder = (
            "import importlib.util, sys\n"
            "class Finder:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            f"        if name == {name!r}:\n"
            f"            return importlib.util.spec_from_file_location(name, {source + '/' + name + '/__init__.py'!r})\n"
            "sys.meta_path.append(Finder())\n"
        )
        files = {f"__editable___{name}.py": finder, f"__editable__.{name}.pth": f"import __editable___{name}\n"}
    else:
        files = {f"__editable__.{name}.pth": source + "\n"}
    site.install(name, "0.9", files)
    (info,) = site.purelib.glob(f"{name}-*.dist-info")
    (info / "direct_url.json").write_text(editable(source))
    found = site.run(store, f"import {name}; {name}.act('edited')")
    assert told(found["edited"]) == f"{name} 0.9"


def test_lines_of_pth_files(site: Site, store: Path, interpreter: Interpreter) -> None:
    line = "import sys; exec({!r})\n".format("try: open('/nowhere/{}')\nexcept OSError: pass")
    owned = line.replace("{}", "owned")
    site.install("starter", "1.1", {"starter.pth": owned})
    evil = site.purelib / "zz_evil.pth"
    evil.write_text(line.replace("{}", "evil"))
    try:
        found = {name: told(event) for name, event in site.run(store, "pass").items()}
    finally:
        evil.unlink()
        (site.purelib / "starter.pth").unlink()
    if interpreter.version >= (3, 15):  # all of them are read before a line of one is run
        assert found == {"owned": "", "evil": ""}
    else:
        assert found == {"owned": "starter 1.1", "evil": "zz_evil.pth"}


def test_a_version_installed_later_is_not_told(site: Site, store: Path) -> None:
    site.install("changing", "1.0", {"changing.py": OPEN})
    assert told(site.run(store, "import changing; changing.act('x')")["x"]) == "changing 1.0"
    site.install("changing", "2.0", {"changing.py": OPEN})
    assert told(opened(store)["x"]) == "changing"


def test_what_is_archived_stays(site: Site, store: Path) -> None:
    """After an upgrade, or where nothing of it is installed: as it was when it was archived."""
    site.install("leaving", "4.0", {"leaving.py": OPEN})
    site.run(store, "import leaving; leaving.act('x')")
    ingest(archived_journal(store), Archive(store))
    pip(site.python, "uninstall", "-y", "leaving")
    assert told(opened(store)["x"]) == "leaving 4.0"


def test_a_child_knows_what_its_parent_knew(site: Site, store: Path, tmp_path: Path) -> None:
    name = "forked_edit"
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / f"{name}.py").write_text(OPEN)
    site.install(name, "1.0", {f"{name}.pth": str(tmp_path / "project") + "\n"})
    (info,) = site.purelib.glob(f"{name}-*.dist-info")
    (info / "direct_url.json").write_text(
        '{"dir_info": {"editable": true}, "url": "file://%s"}' % (tmp_path / "project")
    )
    program = f"import os, {name}\nif os.fork() == 0:\n    {name}.act('child')\n    os._exit(0)\nos.wait()"
    assert told(site.run(store, program)["child"]) == f"{name} 1.0"


def test_both_ways_say_where_modules_are_found(
    interpreter: Interpreter, install: Callable[[Interpreter], object], store: Path
) -> None:
    installed = install(interpreter)
    program = "import sys; print(sys.prefix, *sys.path, sep='\\n')"
    recording = installed.record(program)  # type: ignore[attr-defined]
    prefix, *path = recording.completed.stdout.splitlines()
    (trail,) = recording.journal.processes()
    assert (trail.process.attributes["prefix"], trail.process.attributes["path"]) == (prefix, path)
