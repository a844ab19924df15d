"""Which parts of the archive count: one small file for each batch, put in place whole.

A **batch** is what one step of ingest or of compaction wrote: parts (files of Parquet) of the three tables.
`DIR/archive/manifest/<batch>.json` names them, and with its appearance they count; before, they are nothing.
An entry can replace others (compaction): where it stands, those do not count, whether they have been removed
or not. So each change is one rename, and whoever is killed before or after it has lost and doubled nothing.

    archive = Archive(Path("/var/log/pythonaudit"))
    with archive.lock():
        archive.commit(Entry(batch=archive.new_batch(), parts=(…), replaces=()))
    for entry in archive.entries(): ...

The standard library only. What the keys mean is in docs/format/archive.md.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pythonaudit.durable import NEW, write_durably
from pythonaudit.errors import FormatError, StoreError

FORMAT = 1
TABLES = ("events", "stacks", "segments")

_BATCH = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")
_PATH = re.compile(r"(events|stacks|segments)(/[A-Za-z0-9_.~%=-]+)*/[A-Za-z0-9_.~%=-]+\.parquet")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_COARSE_NS = 2_000_000_000  # a directory's time of change is this coarse at worst
_SUFFIX = ".json"
_PART = ".parquet"


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

    @property
    def newest_ns(self) -> int:
        """Time of its newest event, nanoseconds since 1970: not after it was written, whatever the event says."""
        newest = max((part.end_ns for part in self.parts if part.end_ns is not None), default=self.written_ns)
        return min(newest, self.written_ns) if self.written_ns else newest

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
        if _number(said["format"]) > FORMAT:
            raise FormatError(f"format {said['format']} is of a later version")
        parts = tuple(_parse_part(part) for part in said["parts"])
        batch, replaces = said["batch"], tuple(said["replaces"])
        if not all(_BATCH.fullmatch(name) for name in (batch, *replaces)):
            raise FormatError("the name of a batch makes no sense")
        return Entry(batch, parts, replaces, _number(said["written_ns"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"no entry of a manifest: {type(error).__name__} {error}") from None


def is_part_path(path: str) -> bool:
    """Whether a part can lie there, below the archive."""
    return _PATH.fullmatch(path) is not None and {".", ".."}.isdisjoint(path.split("/"))


def _parse_part(said: dict[str, Any]) -> Part:
    table, path, digest = said["table"], said["path"], said["sha256"]
    if not is_part_path(path) or path.partition("/")[0] != table:
        raise FormatError(f"{path!r} is no path of a part")
    if not _DIGEST.fullmatch(digest):
        raise FormatError(f"{path}: {digest!r} is no SHA-256")
    rows, size = _number(said["rows"]), _number(said["bytes"])
    if table != "events":
        return Part(table, path, rows, size, digest)
    day, host = said["day"], said["host"]
    if type(day) is not str or type(host) is not str:
        raise FormatError(f"{path}: day and host are texts")
    return Part(table, path, rows, size, digest, day, host, _number(said["begin_ns"]), _number(said["end_ns"]))


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} is no whole number")
    return value


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

    def shown(self, part: Part) -> str:
        """The same for people."""
        return str(self.path(part))

    def fetch(self, part: Part) -> Path:
        """Where it can be read; of an archive elsewhere (`fleet`), a copy.

        Raises:
            OSError: there is none.
        """
        return self.path(part)

    def fetch_all(self, parts: Iterable[Part]) -> None:
        """Says which parts will be read: what is elsewhere comes faster together."""

    def read_manifest(self) -> dict[str, bytes | str]:
        """The bytes of every entry that is there, whether it counts or not, by the name of its batch; or why it
        cannot be read.

        Raises:
            StoreError: one may not be read.
        """
        names = self._names()
        while True:
            found = {name.removesuffix(_SUFFIX): self._read_entry(name) for name in names}
            before, names = names, self._names()
            if before == names:
                return {name: content for name, content in found.items() if content is not None}

    def _read_entry(self, name: str) -> bytes | str | None:
        path = self.root / "manifest" / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return "a link to nothing" if path.is_symlink() else None
        except PermissionError as error:
            raise StoreError(f"{path}: {error.strerror}", hint="run it as the directory's owner") from None
        except OSError as error:
            return str(error.strerror)

    def entries(self) -> list[Entry]:
        """The entries that count, oldest first; none where there is no archive. What is damaged is kept in
        `problems`.

        Raises:
            StoreError: the archive may not be read.
        """
        names = self._names()
        while True:
            found = self._read_entries(names)
            # Entries are added and removed meanwhile, and a listing is no instant either: what two of them
            # agree on, with a reading of all files in between, was there at one time.
            before, names = names, self._names()
            if before == names and found is not None:
                break
        replaced = {name for entry in found for name in entry.replaces}
        return [entry for entry in found if entry.batch not in replaced]

    def _names(self) -> list[str]:
        manifest = self.root / "manifest"
        try:
            return sorted(name for name in os.listdir(manifest) if name.endswith(_SUFFIX))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            hint = "run it as the directory's owner"
            raise StoreError(f"{manifest}: {error.strerror}", hint=hint) from None

    def _read_entries(self, names: Iterable[str]) -> list[Entry] | None:
        """The entries with these names; None: one has gone since they were listed."""
        found: list[Entry] = []
        for name in names:
            path = self.root / "manifest" / name
            try:
                entry = parse_entry(path.read_text("utf-8"))
            except FileNotFoundError:
                if not path.is_symlink():
                    return None
                self.note(path, "a link to nothing")
                continue
            except (OSError, UnicodeDecodeError, FormatError) as error:
                self.note(path, error)
                continue
            if entry.batch + _SUFFIX != name:
                self.note(path, f"it names another batch, {entry.batch}")
                continue
            found.append(entry)
        return found

    def version(self) -> int | None:
        """Changes with the manifest; None: cannot tell, it has just changed or is not there."""
        try:
            changed_ns = (self.root / "manifest").stat().st_mtime_ns
        except OSError:
            return None
        return changed_ns if changed_ns < time.time_ns() - _COARSE_NS else None

    @property
    def exists(self) -> bool:
        """Whether there is an archive, be it one that may not be read."""
        try:
            (self.root / "manifest").stat()
        except OSError as error:
            return not isinstance(error, (FileNotFoundError, NotADirectoryError))
        return True

    def note(self, path: Path | str, problem: object) -> None:
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

    def new_batch(self) -> str:
        """A name that no other batch has: its time, and 32 random bits. Under the lock.

        It comes after all others in order, also where the clock was set back.
        """
        newest = max((name for name in self._names() if _BATCH.fullmatch(name.removesuffix(_SUFFIX))), default="0")
        after = int(newest.partition("-")[0], 16) + 1
        return f"{max(time.time_ns(), after):016x}-{os.urandom(4).hex()}"

    def digest(self, entry: Entry) -> str:
        """SHA-256 of the file of an entry that is there.

        Raises:
            OSError: it cannot be read.
        """
        return hashlib.sha256((self.root / "manifest" / (entry.batch + _SUFFIX)).read_bytes()).hexdigest()

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
        unread = False
        for path in (Path(place, name) for place in (self.root, manifest) for name in os.listdir(place)):
            if path.name.endswith(NEW):
                path.unlink()
        for name in os.listdir(manifest):
            if name.endswith(_SUFFIX):
                unread |= name.removesuffix(_SUFFIX) not in counting
        if unread:
            return
        named = {self.path(part) for entry in entries for part in entry.parts}
        for path in self._files():
            if path not in named and path.name.endswith((_PART, _PART + NEW)):
                path.unlink()

    def strangers(self, named: Container[str]) -> list[str]:
        """Parts that lie in the archive, but for those that are named; below it."""
        found = (str(path.relative_to(self.root)) for path in self._files() if path.name.endswith(_PART))
        return sorted(path for path in found if path not in named)

    def _files(self) -> Iterable[Path]:
        for table in TABLES:
            for directory, _, names in os.walk(self.root / table):
                yield from (Path(directory, name) for name in names)
