"""The fuzz target of the reader over its corpus, and over some changes of it."""

from __future__ import annotations

import pytest

from tests.fuzz.fuzz_reader import check, corpus, run

FILES = corpus()


@pytest.mark.parametrize("name", FILES)
def test_corpus(name: str) -> None:
    check(FILES[name])


@pytest.mark.parametrize("seed", range(4))
def test_changes_of_the_corpus(seed: int) -> None:
    run(range(150), seed=seed)
