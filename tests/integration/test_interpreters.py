"""The interpreters that the rest of the tests stand on."""

import os
import sys

import pytest

from pythonaudit.cli.interpreters import SUPPORTED, find_interpreters
from tests.conftest import INTERPRETERS

OF_THE_MACHINE = {(3, 10), (3, 11), (3, 12), (3, 13)}
OF_THE_CHROOT = {(3, 14), (3, 15)}  # tests/newer.sh


def test_this_interpreter_is_among_them() -> None:
    this = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]
    assert this in [str(i.base) for i in find_interpreters()]
    assert sys.version_info[:2] in [i.version[:2] for i in INTERPRETERS]


def test_each_counts_once() -> None:
    bases = [i.base for i in INTERPRETERS]
    assert len(bases) == len(set(bases))


@pytest.mark.skipif("CI" not in os.environ, reason="a developer may have fewer")
def test_continuous_integration_has_every_version() -> None:
    here = {i.version[:2] for i in INTERPRETERS}
    assert here in (OF_THE_MACHINE, OF_THE_CHROOT)


def test_every_version_that_is_supported_is_tested_somewhere() -> None:
    first, last = SUPPORTED
    assert {(3, minor) for minor in range(first[1], last[1] + 1)} == OF_THE_MACHINE | OF_THE_CHROOT
