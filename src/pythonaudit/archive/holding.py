"""Which segments of a batch hold events of some names, told by as little of its parts as possible.

Row groups whose statistics leave no room for such a name are not read; of the others, names and keys are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pythonaudit import catalog
from pythonaudit.archive.manifest import Archive, Entry
from pythonaudit.archive.numbers import numbers
from pythonaudit.journal.decode import APPLICATION
from pythonaudit.journal.reader import Key

_FIRST_CATALOG = (3, 15)  # the last version of CPython that it covers
_KEY = ("process", "sequence", "uid")


def find_segments(archive: Archive, entry: Entry, globs: Sequence[str]) -> set[Key] | None:
    """The segments that hold an event whose name matches one of the globs; None: that cannot be told.

    Args:
        archive: where.
        entry: of the batch.
        globs: as those of `EventFilter.names`.

    Raises:
        OSError: a part has gone.
    """
    pattern = re.compile("|".join(map(translate, globs)))
    exact = not any(re.search(r"[*?[]", glob) for glob in globs)
    known = [info for name, info in catalog.events().items() if pattern.match(name)]
    categories = {info.category for info in known}
    if not exact or len(known) < len(set(globs)) or any(map(_is_later, known)):
        categories.add(APPLICATION)
    found: set[Key] = set()
    try:
        for part in entry.of("events"):
            with pq.ParquetFile(archive.fetch(part), read_dictionary=["event", "process"]) as file:
                for group in range(file.num_row_groups):
                    metadata = file.metadata.row_group(group)
                    if _can_be(metadata, "category", categories) and (
                        not exact or _can_be(metadata, "event", globs)
                    ):
                        found |= _keys(file.read_row_group(group, ["event", *_KEY], use_threads=False), pattern)
    except pa.ArrowException:
        return None
    return found


def _is_later(info: catalog.EventInfo) -> bool:
    """Whether an event may have been an application's to those who wrote the first archives."""
    return any(tuple(map(int, version.split("."))) > _FIRST_CATALOG for version in info.raised[:1])


def _can_be(metadata: pq.RowGroupMetaData, name: str, values: Sequence[str] | set[str]) -> bool:
    """Whether statistics leave room for one of these values in a column."""
    for at in range(metadata.num_columns):
        column = metadata.column(at)
        if column.path_in_schema == name:
            known: Any = column.statistics
            if known is None or not known.has_min_max:
                return True
            return any(known.min <= value <= known.max for value in values)
    return True


def _keys(rows: pa.Table, pattern: re.Pattern[str]) -> set[Key]:
    events = rows["event"].combine_chunks()
    wanted = np.array([pattern.match(name) is not None for name in events.dictionary.to_pylist()] + [False], bool)
    at = np.flatnonzero(wanted[numbers(events.indices, len(wanted) - 1)])
    processes = rows["process"].combine_chunks()
    whose = processes.dictionary.to_pylist()
    columns = (numbers(processes.indices), numbers(rows["sequence"]), numbers(rows["uid"]))
    places = np.unique(np.stack([column[at].astype(np.int64) for column in columns]), axis=1)
    return {(whose[process], sequence, uid) for process, sequence, uid in places.T.tolist()}
