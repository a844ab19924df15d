"""Text where it lies in the bytes."""

from __future__ import annotations

import numpy as np
import pytest

from pythonaudit.journal.texts import copies, views


@pytest.mark.parametrize(
    "data", [b"", b"a", b"[1][22]", b"0123456789a", b"0123456789ab", b"0123456789abc", b"xyz" * 20]
)
def test_every_place_up_to_the_last_byte(data: bytes) -> None:
    places = [(at, size) for at in range(len(data) + 1) for size in range(len(data) - at + 1)]
    start, length = (np.array(column, np.int64) for column in zip(*places, strict=True))
    expected = [data[at : at + size] for at, size in places]
    assert copies(data, start, length).to_pylist() == expected
    assert views(data, start, length).to_pylist() == [text.decode() or None for text in expected]
