"""Events to a file: `file:PATH?format=jsonl&rotate=100MiB&keep=5`.

When `send` returns, the events are on the disk. Lines are appended; past `rotate` bytes PATH becomes PATH.1, PATH.1
becomes PATH.2, and of these the newest `keep` stay (all, if it is not given). Parquet cannot be appended to: each
batch is a file of its own beside PATH, with the time of its first event in its name, so that names sort.

- One exporter writes a file at a time: it is locked.
- Whoever renames or removes the file behind our back (logrotate) is noticed with the next batch, which begins anew.
- A crash may leave half a line at the end. It is cut off before anything is added, since its event comes again;
  in a file that is not of this format, nothing is changed.
- A disk without room takes nothing: what was added of a batch is taken back, and the batch comes again.
- Symbolic links, devices, pipes and directories are refused, for what an audit trail writes to is an easy mark.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pythonaudit.durable import NEW, sync_directory, write_durably
from pythonaudit.errors import UsageError
from pythonaudit.export.formats import FILES, LINES, LineFormat, find_format
from pythonaudit.export.targets import Address, Answer, Misconfigured, Target, Unavailable

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event

_MOST = 5000
_TAIL_BYTES = 1 << 16
_WRITE_BYTES = 1 << 20
_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
#: What does not get better by itself.
_LASTING = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EROFS),
        *(errno.ENAMETOOLONG, errno.ENXIO, errno.ETXTBSY, errno.EINVAL),
    }
)


def open_file(address: Address) -> Target:
    """The target of an address `file:PATH`.

    Raises:
        UsageError: it has no path, or an option makes no sense.
    """
    text = address.text
    if address.host or address.port is not None:
        raise UsageError(f"{text}: a file is on this machine", hint="write file:/PATH")
    if "#" in text:
        raise UsageError(f"{text}: what follows # would be lost", hint="write %23 for #")
    path = unquote(address.path)
    if not path or path.endswith("/") or "\0" in path:
        raise UsageError(f"{text}: no path of a file", hint="write file:/PATH")
    options = address.read(format=_format, rotate=_size, keep=_count)
    name, rotate, keep = options.get("format", LINES[0]), options.get("rotate"), options.get("keep")
    place = Path(path).absolute()
    if name in FILES:
        if rotate is not None:
            raise UsageError(f"{text}: {name} is one file a batch, and is not rotated", hint="leave rotate away")
        return _Files(text, place, keep)
    if keep is not None and rotate is None:
        raise UsageError(f"{text}: keep goes with rotate", hint="say at which size: rotate=100MiB")
    return _Lines(text, place, find_format(name), rotate, keep)


def _format(text: str) -> str:
    if text not in (*LINES, *FILES):
        raise ValueError(f"one of {', '.join((*LINES, *FILES))}")
    return text


def _size(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9})(KiB|MiB|GiB)", text)
    if match is None or not int(match[1]):
        raise ValueError("a size such as 500KiB or 100MiB")
    return int(match[1]) * _UNITS[match[2]]


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or not int(text):
        raise ValueError("a number from 1 on")
    return int(text)


class _Lines:
    """A file of lines.

    Args:
        name: of the target, for people.
        path: of the file.
        form: of the lines.
        rotate: bytes at which it is rotated; None: never.
        keep: how many rotated files stay; None: all.
    """

    most = _MOST

    def __init__(self, name: str, path: Path, form: LineFormat, rotate: int | None, keep: int | None) -> None:
        self._name, self._path, self._form = name, path, form
        self._rotate, self._keep = rotate, keep
        self._descriptor = -1

    def send(self, events: Sequence[Event]) -> Answer:
        """Appends events; when it returns, they are on the disk."""
        with _told(self._name):
            waiting: list[bytes] = []
            size = self._begin()
            for line in map(self._form.line, events):
                is_begun = size > len(self._form.header)  # else it takes a line of any length
                if self._rotate is not None and is_begun and size + len(line) > self._rotate:
                    self._append(waiting)
                    waiting = []
                    size = self._turn()
                waiting.append(line)
                size += len(line)
            self._append(waiting)
        return Answer()

    def close(self) -> None:
        """Lets go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _begin(self) -> int:
        """Opens the file, if it is not open or not the one of that name any more; its size."""
        try:
            there: os.stat_result | None = os.lstat(self._path)
        except FileNotFoundError:
            there = None
        if self._descriptor >= 0:
            ours = os.fstat(self._descriptor)
            if there is None or (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
                self.close()
        if self._descriptor < 0:
            self._descriptor = self._open(there)
        size = os.fstat(self._descriptor).st_size
        if not size and self._form.header:
            self._append([self._form.header])
            size = len(self._form.header)
        return size

    def _open(self, there: os.stat_result | None) -> int:
        if there is not None and not stat.S_ISREG(there.st_mode):
            raise Misconfigured(f"{self._name}: {_kind(there.st_mode)}, not a regular file")
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):  # it was another one a moment ago
                raise Misconfigured(f"{self._name}: {_kind(state.st_mode)}, not a regular file")
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Unavailable(f"{self._name}: somebody else writes to it") from None
            self._mend(descriptor, state.st_size)
            if there is None:
                sync_directory(self._path.parent)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _mend(self, descriptor: int, size: int) -> None:
        """Cuts off the beginning of a line at the end, if the file is of this format."""
        start = self._form.start
        if os.pread(descriptor, len(start), 0) != start[:size]:
            hint = f"it does not begin as a file of {self._form.name} does: move it away, or name another one"
            raise Misconfigured(f"{self._name}: is something else", hint=hint)
        end = size
        while end:
            begin = max(end - _TAIL_BYTES, 0)
            found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
            if found >= 0:
                end = begin + found + 1
                break
            end = begin
        if end != size:
            os.ftruncate(descriptor, end)
            os.fsync(descriptor)

    def _append(self, lines: Sequence[bytes]) -> None:
        """All of it, or nothing."""
        if not lines:
            return
        size = os.fstat(self._descriptor).st_size
        try:
            data = memoryview(b"".join(lines))
            while data:
                data = data[os.write(self._descriptor, data[:_WRITE_BYTES]) :]
            os.fsync(self._descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, size)
            raise

    def _turn(self) -> int:
        """PATH is PATH.1 from now on, and a new one is begun; its size."""
        self.close()
        numbers = self._numbers()
        gap = 1
        while gap in numbers:
            gap += 1
        for number in range(gap, 1, -1):
            os.rename(self._numbered(number - 1), self._numbered(number))
        os.rename(self._path, self._numbered(1))
        for number in self._numbers():
            if self._keep is not None and number > self._keep:
                os.unlink(self._numbered(number))
        sync_directory(self._path.parent)
        return self._begin()

    def _numbers(self) -> set[int]:
        pattern = re.compile(re.escape(self._path.name) + r"\.([1-9][0-9]{0,8})")
        matches = (pattern.fullmatch(name) for name in os.listdir(self._path.parent))
        return {int(match[1]) for match in matches if match}

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class _Files:
    """A directory of files, one a batch.

    Args:
        name: of the target, for people.
        path: `DIR/STEM.SUFFIX`: the files are `DIR/STEM-TIME-ID.SUFFIX`.
        keep: how many of them stay; None: all.
    """

    most = _MOST

    def __init__(self, name: str, path: Path, keep: int | None) -> None:
        self._name, self._path, self._keep = name, path, keep

    def send(self, events: Sequence[Event]) -> Answer:
        """Writes a file, which is there whole or not at all; the same batch again is the same file."""
        from pythonaudit.export.formats.parquet import build_file

        if not events:
            return Answer()
        with _told(self._name):
            path = self._path.with_name(self._name_of(events[0]))
            try:
                write_durably(path, build_file(events))
            except OSError:
                with contextlib.suppress(OSError):  # it takes the room that is missing
                    os.unlink(path.with_name(path.name + NEW))
                raise
            if self._keep is not None:
                self._remove_all_but(self._keep)
        return Answer()

    def close(self) -> None:
        """Nothing is open."""

    def _name_of(self, first: Event) -> str:
        from pythonaudit.journal.decode import format_time

        time = re.sub("[-:]", "", format_time(first.time_ns).decode())
        return f"{self._path.stem}-{time}-{first.id.replace('/', '-')}{self._path.suffix}"

    def _remove_all_but(self, keep: int) -> None:
        stem, suffix = re.escape(self._path.stem), re.escape(self._path.suffix)
        pattern = re.compile(rf"{stem}-[0-9]{{8}}T[0-9]{{6}}\.[0-9]{{9}}Z-[0-9a-f]{{32}}-[0-9]+-[0-9]+{suffix}")
        found = sorted(name for name in os.listdir(self._path.parent) if pattern.fullmatch(name))
        for name in found[:-keep]:
            os.unlink(self._path.with_name(name))


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """What goes wrong with files, in the words of targets."""
    try:
        yield
    except OSError as error:
        make: Callable[[str], Exception] = Misconfigured if error.errno in _LASTING else Unavailable
        raise make(f"{name}: {error.strerror or error}") from None


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a pipe"))
    return next((words for test, words in kinds if test(mode)), "a device or a socket")
