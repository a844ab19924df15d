"""Which segments are in the archive."""

from __future__ import annotations

from collections import defaultdict

import pyarrow as pa

from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.parts import read_part
from pythonaudit.journal.chunks import Header


class Covered:
    """The segments that have a row in the archive.

    Args:
        archive: what is damaged in it is noted there.
    """

    def __init__(self, archive: Archive) -> None:
        self._damaged: dict[str, dict[int, bool]] = defaultdict(dict)
        for entry in archive.entries():
            for part in entry.of("segments"):
                path = archive.path(part)
                try:
                    self.add(read_part(archive, part, ["process", "sequence", "damage"]))
                except (OSError, pa.ArrowException) as error:
                    archive.note(path, error)

    def add(self, segments: pa.Table) -> None:
        """Further rows of the table `segments`."""
        columns = (segments[name].to_pylist() for name in ("process", "sequence", "damage"))
        for process, sequence, damage in zip(*columns, strict=True):
            self._damaged[process][sequence] = damage is not None

    def has(self, header: Header) -> bool:
        """Whether all events of a segment are in the archive."""
        return self.has_segment(header.process.hex(), header.sequence)

    def has_segment(self, process: str, sequence: int) -> bool:
        """The same, by its process and number."""
        return sequence in self._damaged.get(process, ())

    def was_damaged(self, header: Header) -> bool:
        """Whether something of it could not be read."""
        return self._damaged[header.process.hex()][header.sequence]
