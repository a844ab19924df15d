"""Events at hand as a table: the columns of the view `events`, made without a connection.

    table = build_table(events)         # in the order of the events

Two columns are left out, `batch` and `stack_id`: they point into a table that is not here. `stack` has it all.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pythonaudit.archive import schema
from pythonaudit.archive.columns import build_events
from pythonaudit.journal.decode import Event, SegmentDecoder
from pythonaudit.query.functions import event_fields, resolve_path

#: In the order of views/events.sql.
COLUMNS = (
    *("time", "event", "category", "source", "template", "args", "fields", "path", "target"),
    *(
        "full_path",
        "full_target",
        "address",
        "port",
        "command",
        "module",
        "url",
        "id",
        "process",
        "slot",
        "number",
    ),
    *("host", "boot", "pid", "ppid", "tid", "thread", "interpreter", "run", "python", "exe", "argv", "cwd", "uid"),
    *("user", "stack", "file", "line", "function", "package", "version", "context", "notes", "time_ns"),
)
PROCESS_COLUMNS = ("process", "parent", "boot", "pid", "ppid", "pid_namespace", "begin_ns")


def build_table(events: Sequence[Event]) -> pa.Table:
    """Events as a table, in their order."""
    places: dict[SegmentDecoder, list[int]] = {}
    for at, event in enumerate(events):
        places.setdefault(event.decoder, []).append(at)
    tables = [_build(decoder, [events[at] for at in of_segment]) for decoder, of_segment in places.items()]
    order = pc.sort_indices(pa.array(itertools.chain.from_iterable(places.values()), pa.int64()))
    return pa.concat_tables(tables or [_build_empty()]).take(order)


def build_processes(rows: Sequence[tuple[str, str | None, str, int, int, int, int]]) -> pa.Table:
    """Processes, with the columns of the view `processes` that tell who started whom.

    Args:
        rows: PROCESS_COLUMNS of each.
    """
    columns = zip(*rows) if rows else [()] * len(PROCESS_COLUMNS)
    kinds = [pa.string()] * 3 + [pa.int64()] * 4
    return pa.table({n: pa.array(c, k) for n, c, k in zip(PROCESS_COLUMNS, columns, kinds, strict=True)})


def _build(decoder: SegmentDecoder, events: Sequence[Event]) -> pa.Table:
    rows = pa.array([event.row for event in events], pa.int64()).to_numpy()
    table = build_events(decoder, None, "", rows).cast(schema.EVENTS)
    column = {name: table[name].combine_chunks() for name in table.column_names}
    named = event_fields(column["event"], column["args"], column["python"])
    column["slot"] = pa.array([event.thread.slot for event in events], pa.int64())
    column |= {
        "fields": pc.coalesce(column["fields"], named),
        "full_path": resolve_path(column["path"], column["cwd"]),
        "full_target": resolve_path(column["target"], column["cwd"]),
        "id": pa.array([event.id for event in events], pa.string()),
        "stack": pa.array(
            [decoder.stacks.json(event.stack_id).decode() if event.stack_id else None for event in events],
            pa.string(),
        ),
        "time_ns": pa.array([event.time_ns for event in events], pa.int64()),
    }
    return pa.table({name: column[name] for name in COLUMNS})


def _build_empty() -> pa.Table:
    made = {"full_path": pa.string(), "full_target": pa.string(), "id": pa.string(), "stack": pa.string()}
    kinds = made | {"time_ns": pa.int64()}
    return pa.table({name: pa.array([], kinds.get(name) or schema.EVENTS.field(name).type) for name in COLUMNS})
