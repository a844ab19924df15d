"""Appends to the log and signs it: the only writer of `DIR/seal` and `DIR/keys`.

    writer = Writer(Path("/var/log/pythonaudit"))
    with writer.lock():
        writer.append("quiet")
        writer.checkpoint()

Several processes and threads can have a writer of one log each: who holds the lock first reads what others have
appended. Killed at any instant, a writer leaves a log that the next one goes on with (section 9 of the format).
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pythonaudit.durable import sync_directory, write_durably
from pythonaudit.errors import FormatError, StoreError
from pythonaudit.integrity import notes
from pythonaudit.integrity.keys import PrivateKeys
from pythonaudit.integrity.log import FILE_BYTES, FORMAT, Log, build_record, compress, read_lines
from pythonaudit.integrity.state import State

EPOCH_SECONDS = 3600
_SECOND_NS = 1_000_000_000


class Writer:
    """Writes the log of a directory.

    Args:
        directory: that of `PYTHONAUDIT_DIR`.
        private: where private keys are; None: `keys/private` there.
        epoch_seconds: how long a key signs.

    Attributes:
        state: the sum of all records, as of the last time the lock was held.
        note: the last checkpoint that was signed here; None: none yet.
    """

    def __init__(
        self, directory: Path | str, private: Path | None = None, epoch_seconds: float = EPOCH_SECONDS
    ) -> None:
        self.log = Log(directory)
        self.keys = PrivateKeys(private or Path(directory) / "keys" / "private")
        self.state = State()
        self.note: str | None = None
        self._epoch_ns = int(epoch_seconds * _SECOND_NS)
        self._first, self._read = 0, 0  # record with which the last file begins, and how much of it the state has
        self._key: notes.PrivateKey | None = None
        self._thread = threading.Lock()
        self._descriptor = -1
        self._covered = 0

    @property
    def is_covered(self) -> bool:
        """Whether a checkpoint covers all records, as of the last time the lock was held."""
        return self._covered == self.state.tree.size

    @contextmanager
    def lock(self, again: bool = False) -> Iterator[State]:
        """Makes this thread the only one that appends; gives the sum of all records.

        Args:
            again: what a writer that was killed had begun is left as it is.

        Raises:
            StoreError: nothing is sealed here, the log or a key cannot be read, or the log was changed.
        """
        with self._thread:
            try:
                lock = os.open(self.log.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                raise StoreError(
                    f"nothing is sealed in {self.log.root.parent}", hint="begin with 'pythonaudit keys init'"
                ) from None
            except OSError as error:
                hint = "who seals must be the owner of the directory"
                raise StoreError(f"{self.log.root}: {error.strerror}", hint=hint) from None
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._catch_up()
                last = self.log.path(self._first)
                self._descriptor = os.open(last, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.ftruncate(self._descriptor, self._read)  # what is behind was being written by one now dead
                    if self.state.tree.size and not again:
                        self._go_on()
                    yield self.state
                finally:
                    os.close(self._descriptor)
                    self._descriptor = -1
            except FormatError as error:
                hint = "'pythonaudit verify' says what is wrong; nothing is sealed until this is repaired"
                raise StoreError(f"{self.log.root}: {error}", hint=hint) from None
            finally:
                os.close(lock)

    def append(self, kind: str, **values: Any) -> None:
        """Appends a record. It counts with the next checkpoint.

        Args:
            kind: which.
            values: its other keys.

        Raises:
            OSError: it could not be written; then the lock must be given up.
        """
        record = {"record": kind, "time_ns": max(time.time_ns(), self.state.time_ns), **values}
        line = build_record(record)
        if self._read >= FILE_BYTES:
            self._begin_file()
        data = memoryview(line + b"\n")
        while data:
            data = data[os.write(self._descriptor, data) :]
        self._read += len(line) + 1
        self.state.add(line)

    def checkpoint(self) -> str:
        """Covers all records, durably; gives the checkpoint. Ends the epoch if its time has come.

        Raises:
            OSError: it could not be written.
            StoreError: there is no key.
        """
        if time.time_ns() - self.state.epoch_ns >= self._epoch_ns:
            self.rotate()
        return self._sign(self._load_key())

    def rotate(self) -> None:
        """Ends the epoch.

        Raises:
            OSError: something could not be written; the next writer goes on from there.
            StoreError: there is no key.
        """
        state, old = self.state, self._load_key()
        epoch = state.epoch + 1
        new = self.keys.create(state.origin, epoch)
        self.append("key", epoch=epoch, note=old.sign(notes.build_key(new.public, epoch)))
        self._close(self._sign(old))
        self._key = new

    def begin(self, origin: str, version: str, found: dict[str, Any]) -> None:
        """Begins a log, with its first key.

        Args:
            origin: its name.
            version: of pythonaudit.
            found: what is there already: keys of the record `found`.

        Raises:
            StoreError: there is one already.
            OSError: it could not be written.
        """
        for path in (self.log.root.parent, self.log.root):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.lock() as state:
            if state.tree.size > 2:
                raise StoreError(
                    f"{self.log.root}: this log is sealed already", hint="'pythonaudit keys show' shows it"
                )
            if not state.tree.size:
                self.append("begin", format=FORMAT, origin=origin, version=version)
            if state.tree.size < 2:
                key = self.keys.create(state.origin, 0)
                self.append("key", epoch=0, note=key.sign(notes.build_key(key.public, 0)))
            self.append("found", **found)
            self.checkpoint()

    def begin_again(self) -> None:
        """Begins a chain of keys anew: the key of the epoch is lost.

        Raises:
            StoreError: it is not lost, or there is no log.
            OSError: something could not be written.
        """
        with self.lock(again=True) as state:
            with suppress(StoreError):
                self._go_on()
            if not state.closing and self.keys.load(state.origin, state.epoch):
                raise StoreError("the key of this epoch is there", hint="'pythonaudit keys rotate' ends an epoch")
            epoch = state.epoch + 1
            key = self.keys.create(state.origin, epoch)
            self.append("key", epoch=epoch, note=key.sign(notes.build_key(key.public, epoch)), again=True)
            self._key = key
            self._sign(key)

    def _catch_up(self) -> None:
        """Reads what is new; the first time, checks it against the checkpoint."""
        checkpoint = self._parse(self.log.read_checkpoint())
        files = self.log.files()
        for first, path in files:
            if first < self._first:
                continue
            if first > self._first:
                if first != self.state.tree.size:
                    raise FormatError(f"{path.name}: begins with record {first}, not {self.state.tree.size}")
                self._first, self._read = first, 0
            for line, end in read_lines(path, self._read):
                self.state.add(line)
                self._read = end
                if checkpoint and self.state.tree.size == checkpoint[0]:
                    if self.state.tree.root() != checkpoint[1]:
                        raise FormatError("the records are not those that the checkpoint covers")
                    self._covered = checkpoint[0]
        if checkpoint and self._covered < checkpoint[0]:
            raise FormatError(f"{self.state.tree.size} records, where the checkpoint covers {checkpoint[0]}")
        for first, path in files[:-1]:
            if path == self.log.path(first):
                compress(path)

    def _parse(self, note: str | None) -> tuple[int, bytes] | None:
        if note is None:
            return None
        text, _ = notes.split_note(note)
        return notes.parse_checkpoint(text, text.partition("\n")[0])

    def _go_on(self) -> None:
        """Ends what a writer that was killed had begun."""
        state = self.state
        if state.closing is None or state.signer is None:
            return
        epoch, size = state.closing
        note = self.log.read_checkpoint()
        if note is not None and self._covered >= size:
            state.signer.open(note)
        else:
            old = self.keys.load(state.origin, epoch)
            if old is None:
                hint = "begin anew with 'pythonaudit keys init --again'"
                raise StoreError(f"the last checkpoint of epoch {epoch} is not there, nor is its key", hint=hint)
            note = self._sign(old)
        self._close(note)

    def _close(self, note: str) -> None:
        assert self.state.closing is not None
        epoch, _ = self.state.closing
        self.keys.destroy(epoch)
        self.append("closed", epoch=epoch, note=note)

    def _sign(self, key: notes.PrivateKey) -> str:
        os.fsync(self._descriptor)
        state = self.state
        note = key.sign(notes.build_checkpoint(state.origin, state.tree.size, state.tree.root()))
        write_durably(self.log.root / "checkpoint", note.encode())
        self._covered = state.tree.size
        self.note = note
        return note

    def _load_key(self) -> notes.PrivateKey:
        state = self.state
        if self._key is None or self._key.public != state.public:
            self._key = self.keys.load(state.origin, state.epoch)
            if self._key is None or self._key.public != state.public:
                self._key = None
                hint = "where it is lost, begin anew with 'pythonaudit keys init --again'"
                raise StoreError(f"{self.keys.path(state.epoch)}: the key of this epoch is not there", hint=hint)
        return self._key

    def _begin_file(self) -> None:
        os.fsync(self._descriptor)
        path = self.log.path(self.state.tree.size)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.close(self._descriptor)
        self._descriptor, self._first, self._read = descriptor, self.state.tree.size, 0
        sync_directory(self.log.root)  # the file before is compressed by whoever holds the lock next
