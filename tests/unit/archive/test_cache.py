"""Parts that are kept: whole, the right ones, and not too many."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pythonaudit.archive.cache import Cache, DamagedError, cache_directory
from pythonaudit.errors import StoreError


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def writing(content: bytes) -> Callable[[Path], str]:
    def fetch(path: Path) -> str:
        path.write_bytes(content)
        return digest(content)

    return fetch


def never(path: Path) -> str:
    raise AssertionError("it is there")


def test_it_is_fetched_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "a" / "b")
    path = cache.get(digest(b"part"), 4, writing(b"part"))
    assert path.read_bytes() == b"part"
    assert Cache(tmp_path / "a" / "b").get(digest(b"part"), 4, never) == path
    path.write_bytes(b"par")  # cut short
    assert cache.get(digest(b"part"), 4, writing(b"part")).read_bytes() == b"part"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_is_not_right_is_not_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(DamagedError):
        cache.get(digest(b"part"), 4, writing(b"tarp"))

    def absent(path: Path) -> str:
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        cache.get(digest(b"part"), 4, absent)
    assert list(tmp_path.iterdir()) == []


def test_what_was_used_longest_ago_goes(tmp_path: Path) -> None:
    for number in range(8):
        content = b"%d" % number * 100
        path = Cache(tmp_path, 1000).get(digest(content), 100, writing(content))
        os.utime(path, (number, number))
    Cache(tmp_path, 1000).get(digest(b"0" * 100), 100, never)  # used again
    content = b"x" * 500
    Cache(tmp_path, 1000).get(digest(content), 500, writing(content))
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {digest(content), *(digest(b"%d" % number * 100) for number in (0, 4, 5, 6, 7))}


def test_what_may_be_in_use_stays(tmp_path: Path) -> None:
    for number in range(3):
        content = b"%d" % number * 100
        Cache(tmp_path, 100).get(digest(content), 100, writing(content))
    assert len(list(tmp_path.iterdir())) == 3


def test_one_question_has_a_limit(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 5 << 20)
    with pytest.raises(StoreError, match=r"what is asked comes to more than 5 MiB"):
        cache.get(digest(b""), 6 << 20, never)


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"XDG_CACHE_HOME": "/c"}, "/c/pythonaudit/parts"),
        ({"XDG_CACHE_HOME": "c", "HOME": "/home/alice"}, "/home/alice/.cache/pythonaudit/parts"),
        ({}, "/.cache/pythonaudit/parts"),
    ],
)
def test_where_it_is(environ: dict[str, str], place: str) -> None:
    assert cache_directory(environ) == Path(place)
