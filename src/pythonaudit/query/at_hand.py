"""Events at hand: as the view `events` of a connection, or as a table with its columns, made without one.

    with open_events(events, build_processes(rows)) as connection:
        connection.execute("SELECT event, path FROM events")
    table = build_table(events)         # in the order of the events

The view is that of the archive, with all its columns: what costs something is made where it is asked for. The table
lacks three, `batch` and `stack_id`, which point into a table that is not here, and `own_fields`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from importlib import resources

import pyarrow as pa
import pyarrow.compute as pc

from pythonaudit.archive import schema
from pythonaudit.archive.columns import build_events
from pythonaudit.journal.decode import Event, SegmentDecoder
from pythonaudit.query.connection import Connection, open_scratch
from pythonaudit.query.functions import SegmentFrames, event_fields, resolve_path

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


def open_events(events: Sequence[Event], processes: pa.Table) -> Connection:
    """A connection with these events as the view `events`, in any order, and the table `processes`; nothing else.

    Args:
        events: at least one.
        processes: of `build_processes`.
    """
    tables, frames = [], {}
    for number, (decoder, places) in enumerate(_by_segment(events).items()):
        batch, rows = str(number), pa.array([events[at].row for at in places], pa.int64()).to_numpy()
        tables.append(build_events(decoder, None, batch, rows))
        frames[batch] = SegmentFrames(decoder)
    connection = open_scratch({"all_events": pa.concat_tables(tables), "processes": processes}, frames.__getitem__)
    connection.execute(resources.files(__package__).joinpath("views/events.sql").read_text("utf-8"))
    return connection


def build_table(events: Sequence[Event]) -> pa.Table:
    """Events as a table, in their order."""
    places = _by_segment(events)
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


def _by_segment(events: Sequence[Event]) -> Mapping[SegmentDecoder, list[int]]:
    """The places of the events of each segment."""
    places: dict[SegmentDecoder, list[int]] = {}
    for at, event in enumerate(events):
        places.setdefault(event.decoder, []).append(at)
    return places


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
