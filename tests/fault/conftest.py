"""`way`: runs a test once through each of the two ways in."""

from __future__ import annotations

import pytest

from tests.fault.ways import WAYS


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """`site` or `preload`."""
    found: str = request.param
    return found
