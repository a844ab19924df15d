"""Small real distributions, made by hand, and pip to install them: no network."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

from pythonaudit.cli.interpreters import unrecorded


def build_wheel(directory: Path, name: str, version: str, files: Mapping[str, str]) -> Path:
    """A wheel (PEP 427) with these files."""
    distribution = name.replace("-", "_")
    info = f"{distribution}-{version}.dist-info"
    members = dict(files) | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for path, text in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text.encode())}")
    members[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
    directory.mkdir(parents=True, exist_ok=True)
    wheel = directory / f"{distribution}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for path, text in members.items():
            file.writestr(path, text)
    return wheel


def pip(python: Path, *words: str | Path) -> None:
    """Runs the pip of an interpreter's base, without index, on its environment."""
    command = [str(python), "-m", "pip", "-qq", "--disable-pip-version-check", *map(str, words)]
    done = subprocess.run(command, env=unrecorded(os.environ), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
