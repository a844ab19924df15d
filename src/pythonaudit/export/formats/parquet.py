"""Events as a file of Parquet: the columns of the view `events` (docs/reference/views.md), which `log --format
parquet` has too, but for the two that point into the archive: `batch` and `stack_id`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pythonaudit.query import binary
from pythonaudit.query.at_hand import build_table

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event


def build_file(events: Sequence[Event]) -> bytes:
    """A whole file, of these events in their order."""
    table = build_table(events)
    file = io.BytesIO()
    binary.write(file, "parquet", table.schema, table.to_batches())
    return file.getvalue()
