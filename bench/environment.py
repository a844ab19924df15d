"""What the benchmarks run in: each interpreter's own virtual environment, bare and with the wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from pythonaudit.cli.interpreters import Interpreter, find_interpreters, unrecorded

ROOT = Path(__file__).resolve().parent.parent


def interpreters() -> list[Interpreter]:
    """One of each supported CPython at hand."""
    found: dict[Path, Interpreter] = {}
    for interpreter in find_interpreters():
        if interpreter.supported:
            found.setdefault(interpreter.base, interpreter)
    return sorted(found.values(), key=lambda i: (i.version, i.base))


def name_of(interpreter: Interpreter) -> str:
    """`3.11.2 (/usr)`: the version, and where it is installed."""
    return f"{interpreter.version_text} ({interpreter.base.parent.parent.name})"


def build_wheel(into: Path) -> Path:
    """The wheel of this tree."""
    command = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(into), str(ROOT)], check=True)
    (wheel,) = into.glob("*.whl")
    return wheel


def make_environment(interpreter: Interpreter, at: Path, wheel: Path | None) -> Path:
    """A virtual environment, with the wheel unpacked into it if there is one; its interpreter."""
    subprocess.run([interpreter.base, "-m", "venv", "--without-pip", at], check=True)
    if wheel:
        unpack_wheel(wheel, at)
    return at / "bin" / "python"


def unpack_wheel(wheel: Path, at: Path) -> None:
    """Puts the wheel's files into the site-packages of an environment."""
    (packages,) = at.glob("lib/python3.*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            *_, data = member.partition(".data/purelib/")
            target = packages / (data or member)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not member.endswith("/"):
                target.unlink(missing_ok=True)  # a running process may have it mapped
                target.write_bytes(archive.read(member))


def clean_environment(**variables: str) -> dict[str, str]:
    """The environment with no variable of ours but these."""
    return unrecorded(os.environ) | variables
