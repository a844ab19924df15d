"""pip installs the wheel, and takes everything away again."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pythonaudit.cli.interpreters import unrecorded
from tests.conftest import EXTREMES, NOT_SOURCES, ROOT, SOURCES


def run(*command: str | Path, **variables: str) -> str:
    """Runs a command with no settings of ours but these; its stdout."""
    environment = unrecorded(os.environ) | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | variables
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def content(directory: Path) -> set[str]:
    """Every path below a directory; what Python compiles for itself does not count."""
    return {
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if "__pycache__" not in path.parts or "pythonaudit" in str(path)
    }


@pytest.fixture(params=EXTREMES, ids=lambda i: i.version_text)
def python(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The interpreter of a fresh environment with pip."""
    run(request.param.base, "-m", "venv", tmp_path / "venv")
    return tmp_path / "venv" / "bin" / "python"


def test_the_wheel_holds_the_three_parts(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for name in ("pythonaudit/_recorder.abi3.so", "pythonaudit/_preload.abi3.so", "pythonaudit/py.typed"):
        assert name in names
    assert [name for name in names if name.endswith("/purelib/pythonaudit.pth")]
    assert "-cp310-abi3-linux_" in wheel.name


def test_install_and_uninstall(python: Path, wheel: Path, tmp_path: Path) -> None:
    prefix = python.parent.parent
    before = content(prefix)
    run(python, "-m", "pip", "install", "-qq", "--no-index", wheel)
    (pth,) = prefix.glob("lib/python*/site-packages/pythonaudit.pth")
    (record,) = pth.parent.glob("pythonaudit-*.dist-info/RECORD")
    assert "\npythonaudit.pth," in record.read_text()
    assert "no broken requirements" in run(python, "-m", "pip", "check").lower()

    run(python, "-c", "pass", PYTHONAUDIT="1", PYTHONAUDIT_DIR=str(tmp_path / "audit"))
    assert list(tmp_path.glob("audit/journal/*/*.pyaudit"))
    run(prefix / "bin" / "pythonaudit", "--version")

    run(python, "-m", "pip", "uninstall", "-qq", "--yes", "pythonaudit")
    assert content(prefix) == before
    run(python, "-c", "pass", PYTHONAUDIT="1", PYTHONAUDIT_DIR=str(tmp_path / "audit"))


def test_an_editable_installation_records_too(tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    (site_packages,) = tmp_path.glob("venv/lib/python*/site-packages")
    (site_packages / "neighbour.py").touch()  # pip removes a directory that it has emptied
    before = content(tmp_path / "venv")
    tree = tmp_path / "tree"
    tree.mkdir()
    for source in (ROOT / name for name in SOURCES):
        if source.is_dir():
            shutil.copytree(source, tree / source.name, ignore=shutil.ignore_patterns(*NOT_SOURCES))
        elif source.exists():
            shutil.copy(source, tree)
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    packages = Path(pytest.__file__).parent.parent
    run(*pip, "install", "-qq", "--no-deps", "--no-build-isolation", "-e", tree, PYTHONPATH=str(packages))
    run(python, "-c", "pass", PYTHONAUDIT="1", PYTHONAUDIT_DIR=str(tmp_path / "audit"))
    assert list(tmp_path.glob("audit/journal/*/*.pyaudit"))
    run(*pip, "uninstall", "-qq", "--yes", "pythonaudit")
    assert content(tmp_path / "venv") == before
