"""Parts that were fetched from a bucket, kept here for the next question: files by their SHA-256, up to a limit.

    cache = Cache(cache_directory(os.environ))
    path = cache.get(sha256, size, fetch)      # fetch(path) writes the file; it is what the digest says, or it is not kept

What is asked of lies in the cache while it is asked; what was used longest ago goes first. A file in it is the whole
part: only then can be told that it is what the manifest says (docs/adr/0035-the-archive-in-object-storage.md).
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from pythonaudit.errors import StoreError

#: Bytes that are kept, and that one question can need.
MOST_BYTES = 4 << 30
_RECENT_SECONDS = 3600  # what another command may be reading


class DamagedError(OSError):
    """What was fetched is not what the manifest says."""


class Cache:
    """Keeps files.

    Args:
        root: where; made when it is needed.
        most: bytes.
    """

    def __init__(self, root: Path, most: int = MOST_BYTES) -> None:
        self.root, self._most = root, most
        self._used: dict[str, int] = {}  # by this process: they stay
        self._lock = threading.Lock()

    def get(self, sha256: str, size: int, fetch: Callable[[Path], str]) -> Path:
        """The file with this digest.

        Args:
            sha256: 64 hexadecimal digits.
            size: of the file.
            fetch: writes it to a path, and gives the digest of what it has written.

        Raises:
            StoreError: there is no room for all that is asked, or it cannot be written.
            DamagedError: what was fetched is another file.
            FileNotFoundError: `fetch` found nothing.
        """
        path = self.root / sha256
        with self._lock:
            self._used[sha256] = size
            needed = sum(self._used.values())
        if needed > self._most:
            what = (
                f"what is asked comes to more than {self._most >> 20:,} MiB, which is what is kept in {self.root}"
            )
            raise StoreError(what, hint="ask of fewer hosts (--host) or of less time (--since, --until)")
        with suppress(FileNotFoundError, NotADirectoryError):
            if path.stat().st_size == size:
                os.utime(path)
                return path
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(suffix=".new", dir=self.root, delete=False) as new:
                pass
            try:
                self._fill(Path(new.name), path, fetch)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(new.name)
            self._make_room()
        except (FileNotFoundError, DamagedError):
            raise
        except OSError as error:
            hint = "set XDG_CACHE_HOME to a directory that can be written, where there is room"
            raise StoreError(f"{self.root}: {error.strerror}", hint=hint) from None
        return path

    def _fill(self, new: Path, path: Path, fetch: Callable[[Path], str]) -> None:
        if fetch(new) != path.name:
            raise DamagedError("changed: its SHA-256 is not that of the manifest")
        os.replace(new, path)

    def _make_room(self) -> None:
        """Removes what was used longest ago, as far as nobody can be reading it."""
        found = []
        with os.scandir(self.root) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    state = entry.stat(follow_symlinks=False)
                    found.append((state.st_mtime, state.st_size, entry.name))
        total, old = sum(size for _, size, _ in found), time.time() - _RECENT_SECONDS
        for used, size, name in sorted(found):
            if total <= self._most or used > old:
                return
            if name not in self._used:
                with suppress(FileNotFoundError):
                    os.unlink(self.root / name)
                total -= size


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Where parts are kept for this user."""
    place = environ.get("XDG_CACHE_HOME", "")
    base = Path(place) if place.startswith("/") else Path(environ.get("HOME") or "/", ".cache")
    return base / "pythonaudit" / "parts"
