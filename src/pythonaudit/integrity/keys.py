"""Private keys as files: one for each epoch, made before it begins and destroyed when it ends.

Destroyed as far as the medium allows: the file is overwritten and removed. On flash, copy-on-write file
systems, in snapshots and backups old keys can survive; a directory in memory has none of it.
"""

from __future__ import annotations

import os
from pathlib import Path

from pythonaudit.durable import sync_directory, write_durably
from pythonaudit.errors import StoreError
from pythonaudit.integrity.notes import PrivateKey

_BYTES = 32


class PrivateKeys:
    """The private keys of a log.

    Args:
        root: their directory, which nobody else may enter.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, epoch: int) -> Path:
        """Where the key of an epoch lies."""
        return self.root / str(epoch)

    def load(self, origin: str, epoch: int) -> PrivateKey | None:
        """The key of an epoch; None: it is not there.

        Raises:
            StoreError: it may not be read, others can read it, or it is no key.
        """
        path = self.path(epoch)
        try:
            with open(path, "rb") as file:
                state = os.fstat(file.fileno())
                data = file.read(_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            hint = "who seals must be the owner of the keys"
            raise StoreError(f"{path}: {error.strerror}", hint=hint) from None
        if state.st_mode & 0o077:
            hint = (
                f"if nobody has read it, 'chmod 600 {path}'; else begin anew with 'pythonaudit keys init --again'"
            )
            raise StoreError(f"{path}: others may read this private key", hint=hint)
        if len(data) != _BYTES:
            raise StoreError(f"{path}: no private key", hint="begin anew with 'pythonaudit keys init --again'")
        return PrivateKey(origin, data)

    def create(self, origin: str, epoch: int) -> PrivateKey:
        """The key of an epoch: what is there already, or a new one, durable.

        Raises:
            OSError, StoreError: it cannot be written.
        """
        self.root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.mkdir(mode=0o700, exist_ok=True)
        key = self.load(origin, epoch)
        if key is None:
            key = PrivateKey.generate(origin)
            write_durably(self.path(epoch), key.data)
        return key

    def destroy(self, epoch: int) -> None:
        """Overwrites and removes the key of an epoch, and any before it.

        Raises:
            OSError: it cannot be removed.
        """
        if not self.root.is_dir():
            return
        for name in os.listdir(self.root):
            number = name.removesuffix(".new")
            if not number.isdecimal() or int(number) > epoch:
                continue
            descriptor = os.open(self.root / name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.pwrite(descriptor, bytes(_BYTES), 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.unlink(self.root / name)
        sync_directory(self.root)
