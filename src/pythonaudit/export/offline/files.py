"""The files of a bundle, and JSON that can be read in one way only.

Part of verify.py (`offline`).
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from typing import IO, Any

FORMAT = 1
FOLDER = "evidence/"  # in the zip file
FILES = (
    "README.txt",
    "verify.py",
    "bundle.json",
    "checkpoint",
    "log.jsonl",
    "segments.jsonl",
    "events.jsonl",
    "proofs.jsonl",
)


class WrongError(Exception):
    """Something does not agree with the rest, or is not there: where, and what."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")


class CannotError(Exception):
    """It cannot be verified here."""


class Bundle:
    """The files of a bundle.

    Args:
        path: a directory, or the zip file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._zip: zipfile.ZipFile | None = None
        if not os.path.isdir(path):
            try:
                self._zip = zipfile.ZipFile(path)
            except (OSError, zipfile.BadZipFile) as error:
                raise CannotError(f"{path}: {error}") from None
            names = self._zip.namelist()
            if len(set(names)) < len(names):
                raise WrongError(path, "a file is in it twice")

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        if self._zip:
            self._zip.close()

    def open(self, name: str) -> IO[bytes]:
        """One of the files."""
        try:
            if self._zip:
                return self._zip.open(FOLDER + name)
            return open(os.path.join(self._path, name), "rb")
        except (KeyError, FileNotFoundError):
            raise WrongError(name, "is not there") from None
        except OSError as error:
            raise CannotError(f"{name}: {error}") from None

    def read(self, name: str) -> bytes:
        """All of a file."""
        try:
            with self.open(name) as file:
                return file.read()
        except zipfile.BadZipFile as error:
            raise WrongError(name, str(error)) from None

    def lines(self, name: str) -> Iterator[tuple[str, bytes]]:
        """Place and content of each line of a file."""
        number = 0
        try:
            with self.open(name) as file:
                for number, line in enumerate(file, 1):
                    place = f"{name}, line {number}"
                    if not line.endswith(b"\n"):
                        raise WrongError(place, "is cut off")
                    yield place, line[:-1]
        except zipfile.BadZipFile as error:
            raise WrongError(f"{name}, after line {number}", str(error)) from None


def load(text: str) -> Any:
    """JSON without what could be read in two ways: keys that are there twice, NaN."""
    return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def load_object(place: str, line: bytes) -> dict[str, Any]:
    """A line that is a JSON object."""
    try:
        found = load(line.decode())
    except (ValueError, RecursionError) as error:
        raise WrongError(place, f"no JSON: {str(error)!a}") from None
    if not isinstance(found, dict):
        raise WrongError(place, "no JSON object")
    return found


_DECODER = json.JSONDecoder(parse_constant=_constant)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def members(line: bytes) -> dict[str, tuple[Any, str]]:
    """The members of a JSON object without white space around them: value, and text exactly as it stands there.

    Raises:
        ValueError: it is none.
    """
    text, decode = line.decode(), _DECODER.raw_decode
    found: dict[str, tuple[Any, str]] = {}
    at = 1
    if text[:1] != "{":
        raise ValueError("no JSON object")
    while True:
        key, colon = decode(text, at)
        if type(key) is not str or key in found or text[colon : colon + 1] != ":":
            raise ValueError("no JSON object, or a key is there twice")
        value, at = decode(text, colon + 1)
        found[key] = value, text[colon + 1 : at]
        at += 1
        if text[at - 1 : at] == "}" and at == len(text):
            return found
        if text[at - 1 : at] != ",":
            raise ValueError("no JSON object in one line")


def canonical(value: Any) -> str:
    """JSON without white space, characters as they are."""
    return _ENCODER.encode(value)


def hash_object(values: dict[str, Any]) -> str:
    """The hash of columns of a row."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
