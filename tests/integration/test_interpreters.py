"""The interpreters that the rest of the tests stand on."""

import os
import sys

import pytest

from pythonaudit.cli.interpreters import SUPPORTED
from tests.conftest import INTERPRETERS


def test_this_interpreter_is_among_them() -> None:
    this = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]
    assert this in [str(i.base) for i in INTERPRETERS]


def test_each_counts_once() -> None:
    bases = [i.base for i in INTERPRETERS]
    assert len(bases) == len(set(bases))


@pytest.mark.skipif("CI" not in os.environ, reason="a developer may have fewer")
def test_continuous_integration_has_every_version() -> None:
    first, last = SUPPORTED
    wanted = {(3, minor) for minor in range(first[1], last[1] + 1)}
    assert wanted <= {i.version[:2] for i in INTERPRETERS}
