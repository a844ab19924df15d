"""Which parts of the archive count: one small file for each batch, put in place whole.

A **batch** is what one step of ingest or of compaction wrote: parts (files of Parquet) of the three tables.
`DIR/archive/manifest/<batch>.json` names them, and with its appearance they count; before, they are nothing.
An entry can replace others (compaction): where it stands, those do not count, whether they have been removed
or not. So each change is one rename, and whoever is killed before or after it has lost and doubled nothing.

    archive = Archive(Path("/var/log/pythonaudit"))
    with archive.lock():
        archive.commit(Entry(batch=new_batch(), parts=(…), replaces=()))
    for entry in archive.entries(): ...

The standard library only. What the keys mean is in docs/format/archive.md.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pythonaudit.errors import FormatError, StoreError

FORMAT = 1
TABLES = ("events", "stacks", "segments")

_BATCH = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class Part:
    """One file of Parquet.

    Attributes:
        table: events, stacks or segments.
        path: below the archive, with `/`.
        rows, bytes: how many.
        sha256: of the file, 64 hexadecimal digits.
        day, host: of its events; None for the other tables.
        begin_ns, end_ns: time of the first and the last event, nanoseconds since 1970.
    """

    table: str
    path: str
    rows: int
    bytes: int
    sha256: str
    day: str | None = None
    host: str | None = None
    begin_ns: int | None = None
    end_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What one batch wrote.

    Attributes:
        batch: its name; names in order are in order of time.
        parts: its files.
        replaces: batches that do not count any more.
        written_ns: nanoseconds since 1970.
    """

    batch: str
    parts: tuple[Part, ...]
    replaces: tuple[str, ...] = ()
    written_ns: int = 0

    def of(self, table: str) -> list[Part]:
        """The parts of one table."""
        return [part for part in self.parts if part.table == table]

    def to_json(self) -> str:
        """As the manifest has it."""
        parts = [{k: v for k, v in asdict(part).items() if v is not None} for part in self.parts]
        whole = {"format": FORMAT, "batch": self.batch, "written_ns": self.written_ns, "parts": parts}
        return json.dumps(whole | {"replaces": list(self.replaces)}, indent=1) + "\n"


def parse_entry(text: str) -> Entry:
    """Reads an entry.

    Raises:
        FormatError: it is none, or one of a later format.
    """
    try:
        said: dict[str, Any] = json.loads(text)
        if said["format"] > FORMAT:
            raise FormatError(f"format {said['format']} is of a later version")
        parts = tuple(_parse_part(part) for part in said["parts"])
        batch, replaces = said["batch"], tuple(said["replaces"])
        if not all(_BATCH.fullmatch(name) for name in (batch, *replaces)):
            raise FormatError("the name of a batch makes no sense")
        return Entry(batch, parts, replaces, int(said["written_ns"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"no entry of a manifest: {type(error).__name__} {error}") from None


def _parse_part(said: dict[str, Any]) -> Part:
    known: dict[str, Any] = {name: said.get(name) for name in Part.__slots__}
    part = Part(**known)
    words = part.path.split("/")
    if part.table not in TABLES or words[0] != part.table or not all(words) or ".." in words:
        raise FormatError(f"{part.path!r} is no path of a part")
    if not all(type(number) is int for number in (part.rows, part.bytes)):
        raise FormatError(f"{part.path}: rows and bytes are numbers")
    return part


def new_batch() -> str:
    """A name that no other batch has: its time, and 32 random bits."""
    return f"{time.time_ns():016x}-{secrets.token_hex(4)}"


class Archive:
    """The archive of a directory.

    Args:
        directory: that of `PYTHONAUDIT_DIR`.
    """

    def __init__(self, directory: Path | str) -> None:
        self.root = Path(directory) / "archive"
        self._problems: dict[str, None] = {}

    def path(self, part: Part) -> Path:
        """Where a part lies."""
        return self.root.joinpath(*part.path.split("/"))

    def entries(self) -> list[Entry]:
        """The entries that count, oldest first; none where there is no archive. What is damaged is kept in
        `problems`.

        Raises:
            StoreError: the archive may not be read.
        """
        manifest = self.root / "manifest"
        try:
            names = sorted(name for name in os.listdir(manifest) if name.endswith(_SUFFIX))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            hint = "run it as the directory's owner"
            raise StoreError(f"{manifest}: {error.strerror}", hint=hint) from None
        found: list[Entry] = []
        for name in names:
            try:
                entry = parse_entry((manifest / name).read_text("utf-8"))
            except FileNotFoundError:
                continue  # replaced meanwhile
            except (OSError, UnicodeDecodeError, FormatError) as error:
                self.note(manifest / name, error)
                continue
            if entry.batch + _SUFFIX != name:
                self.note(manifest / name, f"it names another batch, {entry.batch}")
                continue
            found.append(entry)
        replaced = {name for entry in found for name in entry.replaces}
        return [entry for entry in found if entry.batch not in replaced]

    def note(self, path: Path, problem: object) -> None:
        """Keeps what is wrong with a file for `problems`."""
        self._problems[f"{path}: {problem}"] = None

    def problems(self) -> list[str]:
        """What could not be read, in whatever has been read by now."""
        return list(self._problems)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Makes this process the only one that changes the archive; waits for its turn.

        Raises:
            StoreError: the archive cannot be written.
        """
        try:
            for path in (self.root, self.root / "manifest"):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            hint = "run it as the directory's owner, where there is room"
            raise StoreError(f"{error.filename or self.root}: {error.strerror}", hint=hint) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def commit(self, entry: Entry) -> None:
        """Makes the parts of a batch count, and those that it replaces not. Under the lock.

        Raises:
            OSError: it could not be written; then nothing has changed.
        """
        path = self.root / "manifest" / (entry.batch + _SUFFIX)
        write_durably(path, entry.to_json().encode())
        self.sweep()

    def sweep(self) -> None:
        """Removes entries that are replaced, and parts that no entry names: left by whoever was killed.
        Under the lock. Nothing is removed where an entry cannot be read: it may name them.
        """
        manifest = self.root / "manifest"
        entries = self.entries()
        counting = {entry.batch for entry in entries}
        replaced = {name for entry in entries for name in entry.replaces}
        for name in replaced:
            with suppress(FileNotFoundError):
                os.unlink(manifest / (name + _SUFFIX))
        unread = [name for name in os.listdir(manifest) if name.removesuffix(_SUFFIX) not in counting]
        for name in unread:
            if name.endswith(".new"):
                os.unlink(manifest / name)
        if any(name.endswith(_SUFFIX) for name in unread):
            return
        named = {self.path(part) for entry in entries for part in entry.parts}
        for path in self._files():
            if path not in named:
                with suppress(FileNotFoundError):
                    path.unlink()

    def _files(self) -> Iterable[Path]:
        for table in TABLES:
            for directory, _, names in os.walk(self.root / table):
                yield from (Path(directory, name) for name in names)


def write_durably(path: Path, content: bytes) -> None:
    """Puts a file in place whole: what is there afterwards is all of it, also after a loss of power."""
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes durable which files are in a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
