"""The log as files: records, one a line, and the newest checkpoint (docs/format/checkpoint.md, sections 1 and 2).

log = Log(Path("/var/log/pythonaudit"))
for line in log.lines(): ...        # bytes, without the line feed
log.read_checkpoint()
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pythonaudit.durable import sync_directory, write_durably
from pythonaudit.errors import FormatError, StoreError

FORMAT = 1
FILE_BYTES = 16 << 20  # a file that is larger is followed by another, and compressed
_SUFFIX = ".jsonl"
_COMPRESSED = ".jsonl.gz"
_LEVEL = 1  # most of it is hashes, which no effort makes smaller
_DIGITS = 16
_BLOCK = 1 << 20


class Log:
    """Reads the log of a directory.

    Args:
        directory: that of `PYTHONAUDIT_DIR`.
    """

    def __init__(self, directory: Path | str) -> None:
        self.root = Path(directory) / "seal"

    @property
    def exists(self) -> bool:
        """Whether anything is sealed here.

        Raises:
            StoreError: it may not be read.
        """
        return bool(self.files())

    def files(self) -> list[tuple[int, Path]]:
        """Number of the first record, and path, of each file, in order. One that is there twice, since its writer
        was killed while he compressed it, is given as it was.

        Raises:
            StoreError: they may not be read.
        """
        try:
            names = os.listdir(self.root)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StoreError(f"{self.root}: {error.strerror}", hint="run it as the directory's owner") from None
        found: dict[int, Path] = {}
        for name in sorted(names, reverse=True):  # the compressed ones first
            stem, dot, suffix = name.partition(".")
            if len(stem) == _DIGITS and stem.isdecimal() and dot + suffix in (_SUFFIX, _COMPRESSED):
                found[int(stem)] = self.root / name
        return sorted(found.items())

    def path(self, first: int) -> Path:
        """Where the file lies that begins with a record, as long as it is written to."""
        return self.root / f"{first:0{_DIGITS}d}{_SUFFIX}"

    def lines(self) -> Iterator[bytes]:
        """Every record that is there whole, in order.

        Raises:
            FormatError: a file does not go on where the one before it ended.
            StoreError: one cannot be read.
        """
        number = 0
        for first, path in self.files():
            if first != number:
                raise FormatError(f"{path.name}: begins with record {first}, where {number} is the next")
            for line, _ in read_lines(path):
                yield line
                number += 1

    def read_checkpoint(self) -> str | None:
        """The newest checkpoint, as it is written; None: there is none.

        Raises:
            FormatError: it is no text.
            StoreError: it cannot be read.
        """
        path = self.root / "checkpoint"
        try:
            return path.read_bytes().decode()
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            raise FormatError(f"{path}: no checkpoint") from None
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from None

    def read_note(self) -> str | None:
        """The same for whoever wants to see what is wrong with it: what is no text is read all the same.

        Raises:
            StoreError: it cannot be read.
        """
        try:
            return self.read_checkpoint()
        except FormatError:
            return (self.root / "checkpoint").read_bytes().decode("utf-8", "replace")


def read_lines(path: Path, offset: int = 0) -> Iterator[tuple[bytes, int]]:
    """The whole lines of a file from an offset on, each without its line feed and with where it ends.

    Args:
        path: of the file, which can be compressed.
        offset: in what it holds.

    Raises:
        FormatError: it is compressed, and damaged.
        StoreError: it cannot be read.
    """
    try:
        with gzip.open(path) if path.name.endswith(_COMPRESSED) else open(path, "rb", _BLOCK) as file:
            file.seek(offset)
            for line in file:
                if line.endswith(b"\n"):
                    offset += len(line)
                    yield line[:-1], offset
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FormatError(f"{path.name}: {error}") from None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None


def compress(path: Path) -> None:
    """Makes a file of the log small, to which nothing will be added.

    Raises:
        OSError: it could not be written; then it is there as it was.
    """
    write_durably(path.with_suffix(_COMPRESSED), gzip.compress(path.read_bytes(), _LEVEL, mtime=0))
    path.unlink()
    sync_directory(path.parent)


def parse_record(line: bytes) -> dict[str, Any]:
    """A record.

    Raises:
        FormatError: it is none.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if (
        not isinstance(record, dict)
        or type(record.get("record")) is not str
        or type(record.get("time_ns")) is not int
    ):
        raise FormatError("no record")
    return record


def build_record(record: dict[str, Any]) -> bytes:
    """A record as a line, without the line feed."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
