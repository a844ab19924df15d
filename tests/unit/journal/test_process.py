"""What a process says of itself."""

from __future__ import annotations

import pytest

from pythonaudit.journal.process import parse_version


@pytest.mark.parametrize(
    ("python", "version"),
    [
        ("3.11.7", (3, 11)),
        ("3.15.0a1+", (3, 15)),
        ("3.13", (3, 13)),
        ("3", None),
        ("3.x", None),
        ("", None),
        (None, None),
        ("3." + "9" * 5000, (3, 9999)),
    ],
)
def test_versions_of_python(python: str | None, version: tuple[int, int] | None) -> None:
    assert parse_version(python) == version
