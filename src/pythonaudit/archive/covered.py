"""Which segments are in the archive, or were until retention removed them: those are not archived again."""

from __future__ import annotations

import pyarrow as pa

from pythonaudit.archive.dropped import load_dropped
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.parts import read_part
from pythonaudit.journal.reader import Key

_COLUMNS = ["process", "sequence", "uid", "damage"]


class Covered:
    """The segments that have a row in the archive, and those that had.

    Args:
        archive: what is damaged in it is noted there.
    """

    def __init__(self, archive: Archive) -> None:
        self._damaged: dict[Key, bool] = {}
        entries = archive.entries()
        self._damaged.update(dict.fromkeys(load_dropped(archive).segments, False))
        for entry in entries:
            for part in entry.of("segments"):
                path = archive.path(part)
                try:
                    self.add(read_part(archive, part, _COLUMNS))
                except (OSError, pa.ArrowException) as error:
                    archive.note(path, error)

    def add(self, segments: pa.Table) -> None:
        """Further rows of the table `segments`."""
        columns = (segments[name].to_pylist() for name in _COLUMNS)
        for process, sequence, uid, damage in zip(*columns, strict=True):
            self._damaged[process, sequence, uid] = damage is not None

    def has(self, key: Key) -> bool:
        """Whether all events of a segment are, or were, in the archive."""
        return key in self._damaged

    def was_damaged(self, key: Key) -> bool:
        """Whether something of it could not be read."""
        return self._damaged[key]
