"""Columns of Arrow by their bytes, beside what pyarrow makes of them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pythonaudit.archive.numbers import flags, numbers


@pytest.mark.parametrize("kind", [pa.int16(), pa.int32(), pa.int64(), pa.timestamp("us", "UTC")])
@pytest.mark.parametrize("values", [[], [1, 2, 3], [1, None, 3], [None, None], [*range(20), None]])
def test_numbers(kind: pa.DataType, values: list[int | None]) -> None:
    array = pa.array(values, kind)
    for start in range(len(values) + 1):
        expected = [-7 if value is None else value for value in values[start:]]
        assert numbers(array.slice(start), -7).tolist() == expected
        assert numbers(pa.chunked_array([array.slice(start), array], kind), -7).tolist() == expected + [
            -7 if value is None else value for value in values
        ]


@pytest.mark.parametrize("values", [[], [True, False], [None, True, False] * 5])
def test_flags(values: list[bool | None]) -> None:
    array = pa.array(values, pa.bool_())
    for start in range(len(values) + 1):
        assert flags(array.slice(start)).tolist() == [bool(value) for value in values[start:]]
