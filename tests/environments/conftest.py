"""Packages from PyPI for an interpreter, in a directory that programs find by PYTHONPATH."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pythonaudit.cli.interpreters import Interpreter, unrecorded

Fetch = Callable[..., Path]


@pytest.fixture(scope="session")
def fetch(tmp_path_factory: pytest.TempPathFactory) -> Fetch:
    """Fetches packages, once for an interpreter; the test is skipped where they cannot be had."""
    kept: dict[tuple[Path, ...] | tuple[str, ...], Path] = {}

    def fetch_packages(interpreter: Interpreter, *names: str) -> Path:
        key = (str(interpreter.base), *names)
        if key not in kept:
            place = tmp_path_factory.mktemp("packages")
            pip = [sys.executable, "-m", "pip", "--python", str(interpreter.base)]  # which may have no pip
            command = [*pip, "install", "-qq", "--target", str(place), *names]
            quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
            done = subprocess.run(command, env=unrecorded(os.environ) | quiet, capture_output=True, text=True)
            if done.returncode != 0:
                pytest.skip(f"PyPI cannot be reached: {done.stderr.strip().splitlines()[-1]}")
            kept[key] = place
        return kept[key]

    return fetch_packages
