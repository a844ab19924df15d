"""Which segments are in the archive."""

from __future__ import annotations

from collections import defaultdict

import pyarrow as pa
import pyarrow.parquet as pq

from pythonaudit.archive.manifest import Archive
from pythonaudit.journal.chunks import Header


class Covered:
    """The segments that have a row in the archive.

    Args:
        archive: what is damaged in it is noted there.
    """

    def __init__(self, archive: Archive) -> None:
        self._sequences: dict[str, set[int]] = defaultdict(set)
        for entry in archive.entries():
            for part in entry.of("segments"):
                try:
                    self.add(pq.read_table(archive.path(part), columns=["process", "sequence"], partitioning=None))
                except (OSError, pa.ArrowException) as error:
                    archive.note(archive.path(part), error)

    def add(self, segments: pa.Table) -> None:
        """Further rows of the table `segments`."""
        pairs = zip(segments["process"].to_pylist(), segments["sequence"].to_pylist(), strict=True)
        for process, sequence in pairs:
            self._sequences[process].add(sequence)

    def has(self, header: Header) -> bool:
        """Whether all events of a segment are in the archive."""
        return header.sequence in self._sequences.get(header.process.hex(), ())

    def leading(self, process: bytes) -> int:
        """How many segments of a process, from the first on, are there without a gap."""
        known = self._sequences.get(process.hex(), set())
        count = 0
        while count in known:
            count += 1
        return count

    def of(self, process: str) -> frozenset[int]:
        """The numbers of the segments of a process that are there."""
        return frozenset(self._sequences.get(process, ()))
