"""The fuzz targets in C, over their corpus and some random input, under the sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fuzz.targets import build, embedding, environment

CORPUS = Path(__file__).with_name("corpus") / "mask"


def test_masking(tmp_path: Path) -> None:
    """The corpus and changes of it."""
    program = build("mask", tmp_path, guided=False)
    corpus = sorted(map(str, CORPUS.iterdir()))
    assert len(corpus) > 15
    done = subprocess.run([program, "--mutate", "5000", *corpus], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == f"{len(corpus) * 5001} texts\n"


def test_encoding(tmp_path: Path) -> None:
    """Arguments by random recipes."""
    if not embedding():
        pytest.skip("this interpreter has no shared library")
    program = build("encode", tmp_path, guided=False)
    done = subprocess.run([program, "20000", "1"], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == "20000 recipes\n"
