"""`way`: runs a test once through each of the two ways in. `disk`: makes small ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fault.ways import WAYS

Disk = Callable[[str, str | None], Path]
SOMEBODY = 54321


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """`site` or `preload`."""
    found: str = request.param
    return found


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Makes a directory of this name, on a disk of this size (None: on the one that is there)."""
    mounted: list[Path] = []

    def make(name: str, size: str | None) -> Path:
        place = tmp_path / name
        place.mkdir()
        if size is not None:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
            mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def shared() -> Iterator[tuple[Path, Path]]:
    """Two places that everybody can reach, SOMEBODY's own, with a journal that everybody may add to."""
    scratch = Path(tempfile.mkdtemp(prefix="pythonaudit-"))
    scratch.chmod(0o755)
    places = scratch / "bare", scratch / "recorded"
    for place in places:
        place.mkdir()
        os.chown(place, SOMEBODY, SOMEBODY)
        (place / "audit").mkdir(mode=0o755)
        (place / "audit" / "journal").mkdir()
        (place / "audit" / "journal").chmod(0o1777)
    yield places
    shutil.rmtree(scratch)
