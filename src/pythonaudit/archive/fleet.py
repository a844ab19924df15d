"""The archives of many hosts in a bucket, as one: the same to readers as the archive of a directory.

    journal = FleetJournal(Bucket(address), Scope(since_ns=…, hosts=("web-*",)), Cache(…))
    for event in journal.events(wanted): ...

What a bucket has is told by the names of its objects, so a question of one hour and one host lists the entries of that
host from then on, fetches those whose name says that they can have something of that hour, and of their parts those that
are needed: each whole, held against its digest, and kept (`cache`). It is read as it was when it was first looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from pythonaudit.archive.bucket import (
    Listed,
    Scope,
    entries_prefix,
    name_of,
    parse_entry_key,
    parse_listed,
    part_key,
    text_of,
)
from pythonaudit.archive.cache import Cache
from pythonaudit.archive.manifest import Archive, Entry, Part
from pythonaudit.archive.objects import CONNECTIONS, Bucket
from pythonaudit.archive.reader import ArchivedSegments
from pythonaudit.errors import FormatError, StoreError
from pythonaudit.journal.files import Box
from pythonaudit.journal.reader import Journal, SegmentHead

_SPECIAL = re.compile(r"[*?[].*", re.DOTALL)
_HOUR_NS = 3_600_000_000_000


class FleetArchive(Archive):
    """What senders have put into a bucket.

    Args:
        bucket: which.
        scope: what is looked at of it.
        cache: where parts are kept.
    """

    def __init__(self, bucket: Bucket, scope: Scope, cache: Cache) -> None:
        super().__init__(cache.root)
        self._bucket, self._scope, self._cache = bucket, scope, cache
        self._entries: list[Entry] | None = None
        self._senders: dict[str, str] = {}  # by digest of a part

    @property
    def exists(self) -> bool:
        """It is asked for by name: it does."""
        return True

    def version(self) -> int:
        """It is read as it was."""
        return 0 if self._entries is not None else -1

    def entries(self) -> list[Entry]:
        """The entries in the scope that count, oldest first. What is damaged is kept in `problems`.

        Raises:
            StoreError: the bucket cannot be read, or nobody has sent anything.
        """
        if self._entries is None:
            found = [one for some in self._bucket.all(self._list, self._find_senders()) for one in some]
            by_batch = {listed.entry.batch: listed for _, listed in found}  # a directory can have been sent twice
            replaced = {name for listed in by_batch.values() for name in listed.entry.replaces}
            self._senders = {part.sha256: sender for sender, listed in found for part in listed.entry.parts}
            self._entries = [
                listed.entry
                for batch, listed in sorted(by_batch.items())
                if batch not in replaced and self._scope.has_entry(listed)
            ]
        return self._entries

    def path(self, part: Part) -> Path:
        """Where it is when it has been fetched."""
        return self._cache.root / part.sha256

    def shown(self, part: Part) -> str:
        """Where it is in the bucket."""
        sender = self._senders.get(part.sha256, "")
        return f"{self._bucket.address}/{part_key(sender, part.path, part.sha256)}"

    def fetch(self, part: Part) -> Path:
        """The part, here.

        Raises:
            FileNotFoundError: it is not in the bucket.
            DamagedError: it is not what the manifest says.
            StoreError: the bucket cannot be read, or there is no room.
        """
        key = part_key(self._senders.get(part.sha256, ""), part.path, part.sha256)
        return self._cache.get(part.sha256, part.bytes, lambda path: self._bucket.download(key, path, part.bytes))

    def fetch_all(self, parts: Iterable[Part]) -> None:
        """Fetches parts, many at once. What is wrong with one shows when it is read."""
        self._bucket.all(self._try, parts)

    def _try(self, part: Part) -> None:
        with suppress(OSError):
            self.fetch(part)

    def _find_senders(self) -> list[str]:
        """The senders that have sent something of the hosts that are asked for.

        Raises:
            StoreError: there are none at all.
        """
        names: set[str] = set()
        if self._scope.hosts:
            for glob in self._scope.hosts:
                beginning = name_of(_SPECIAL.sub("", glob)) if _SPECIAL.sub("", glob) else ""
                for key, _ in self._bucket.keys(f"hosts/{beginning}"):
                    host, _, sender = key.removeprefix("hosts/").partition("/")
                    if self._scope.has_host(text_of(host)):
                        names.add(sender)
        else:
            names.update(self._bucket.names("manifest/"))
        if not names and not any(True for _ in self._bucket.names("manifest/")):
            hint = "'pythonaudit export --to s3://BUCKET/PREFIX' sends; docs/guide/fleet.md"
            raise StoreError(f"nobody has sent anything to {self._bucket.address}", hint=hint)
        return sorted(map(text_of, names))

    def _list(self, sender: str) -> list[tuple[str, Listed]]:
        """The entries of a sender that can have something of the time that is asked for."""
        scope, prefix = self._scope, entries_prefix(sender)
        # Nothing is archived before it happens; clocks are set.
        after = f"{prefix}{max(scope.since_ns - _HOUR_NS, 0):016x}" if scope.since_ns is not None else ""
        wanted: list[tuple[str, str]] = []
        for key, _ in self._bucket.keys(prefix, after):
            found = parse_entry_key(key)
            if found is None:
                continue
            batch, span = found
            if (scope.until_ns is None or span.begin_ns < scope.until_ns) and (
                scope.since_ns is None or span.end_ns >= scope.since_ns
            ):
                wanted.append((batch, key))
        return [(sender, listed) for listed in self._fetch_entries(wanted)]

    def _fetch_entries(self, wanted: list[tuple[str, str]]) -> Iterator[Listed]:
        """Entries, the newest first: those that they replace need not be fetched."""
        replaced: set[str] = set()
        while wanted:
            some = [(batch, key) for batch, key in wanted[-CONNECTIONS:] if batch not in replaced]
            del wanted[-CONNECTIONS:]
            for (batch, key), listed in zip(some, self._bucket.all(self._fetch_entry, (k for _, k in some))):
                if listed is None:
                    continue
                if listed.entry.batch != batch:
                    self.note(f"{self._bucket.address}/{key}", f"it names another batch, {listed.entry.batch}")
                    continue
                replaced.update(listed.entry.replaces)
                yield listed

    def _fetch_entry(self, key: str) -> Listed | None:
        try:
            return parse_listed(self._bucket.get(key))
        except (FileNotFoundError, FormatError) as error:
            self.note(f"{self._bucket.address}/{key}", "not there" if isinstance(error, OSError) else error)
            return None


class FleetJournal(Journal):
    """The archives in a bucket, read like a journal: none of its own is beside them.

    Args:
        bucket, scope, cache: as of `FleetArchive`.
    """

    def __init__(self, bucket: Bucket, scope: Scope, cache: Cache) -> None:
        super().__init__(cache.root, archived=ArchivedSegments(FleetArchive(bucket, scope, cache)))
        self.name = str(bucket.address)
        self._is_cut = scope.since_ns is not None

    def boxes(self) -> list[Box]:
        """None: nobody records into a bucket."""
        return []

    def missing(self, heads: Iterable[SegmentHead]) -> dict[str, int]:
        """As of `Journal`. Of segments from a moment on nobody can tell: earlier ones were not looked for."""
        return {} if self._is_cut else super().missing(heads)

    def places(self) -> list[Path]:
        """None."""
        return []
