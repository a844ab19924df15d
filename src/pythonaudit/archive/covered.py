"""Which segments are in the archive."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import pyarrow as pa

from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.parts import read_part
from pythonaudit.journal.chunks import Header

_COLUMNS = ["process", "sequence", "drained"]


class Covered:
    """The segments that have a row in the archive.

    Args:
        archive: what is damaged in it is noted there.
    """

    def __init__(self, archive: Archive) -> None:
        self._drained: dict[str, dict[int, int]] = defaultdict(dict)
        for entry in archive.entries():
            for part in entry.of("segments"):
                try:
                    self.add(read_part(archive, part, _COLUMNS))
                except (OSError, pa.ArrowException) as error:
                    archive.note(archive.path(part), error)

    def add(self, segments: pa.Table) -> None:
        """Further rows of the table `segments`."""
        for process, sequence, drained in zip(*(segments[name].to_pylist() for name in _COLUMNS), strict=True):
            self._drained[process][sequence] = drained

    def has(self, header: Header) -> bool:
        """Whether all events of a segment are in the archive."""
        return header.sequence in self._drained.get(header.process.hex(), ())

    def leading(self, process: bytes) -> int:
        """How many segments of a process, from the first on, are there without a gap."""
        known = self._drained.get(process.hex(), {})
        count = 0
        while count in known:
            count += 1
        return count

    def segments(self) -> Iterator[tuple[str, int, int]]:
        """Process, `sequence` and `drained` of each."""
        for process, known in self._drained.items():
            for sequence, drained in known.items():
                yield process, sequence, drained
