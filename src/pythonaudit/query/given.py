"""The view `events` over rows of segments that are at hand, one segment or one block of events at a time.

    given = Given(journal, wanted)
    condition = given.condition("pid > 9")            # for `EventFilter.condition`
    for batch in given.batches(journal.events()): ...   # all columns of the view, in the same order

What is asked in SQL while a journal is read in its own order: nothing is kept of what was asked before, however
much there is to read. The connection sees the other views as well, so that a condition can look there. Whoever
asks while another one's answers come needs one of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from importlib import resources

import pyarrow as pa
import pyarrow.compute as pc

from pythonaudit.archive import schema
from pythonaudit.archive.columns import build_events
from pythonaudit.journal.decode import Event, SegmentDecoder
from pythonaudit.journal.filters import EventFilter, RowCondition
from pythonaudit.journal.reader import Journal
from pythonaudit.journal.segment import Column
from pythonaudit.query.connection import check_condition, connect
from pythonaudit.query.live import Stream, name_batch
from pythonaudit.query.results import Result
from pythonaudit.query.where import build_condition

_ROWS, _VIEW = "given_rows", "given_events"
_BLOCK = 10_000
_SEGMENTS = 64


class Given:
    """Rows at hand, and the views.

    Args:
        journal: whose segments they are; for the other views.
        wanted: as of `connect`.
    """

    def __init__(self, journal: Journal, wanted: EventFilter) -> None:
        self._wanted = wanted
        self._at_hand: dict[str, SegmentDecoder] = {}
        self._connection = connect(journal, wanted, self._at_hand)
        self._rows = schema.EVENTS.empty_table()
        self._connection.register(_ROWS, Stream(schema.EVENTS, lambda: iter([self._rows])))
        text = resources.files(__package__).joinpath("views/events.sql").read_text("utf-8")
        view = text.replace("CREATE VIEW events", f"CREATE TEMP VIEW {_VIEW}").replace("all_events", _ROWS)
        self._connection.execute(view)

    def condition(self, where: str) -> RowCondition:
        """Which rows of a segment are wanted and hold in SQL.

        Args:
            where: a condition on the view `events`, in the user's words.

        Raises:
            UsageError: it is not one condition in valid SQL.
        """
        check_condition(self._connection, where)
        # In this order: what is said of wanted events may make no sense of others.
        wanted = build_condition(self._wanted)
        query = f"SELECT CASE WHEN {wanted} THEN (\n{where}\n)::BOOLEAN END FROM {_VIEW} AS events"

        def holds(decoder: SegmentDecoder, rows: Column) -> Column:
            self._at_hand.clear()
            self._rows = self._build(decoder, rows)
            batches = Result(self._connection, query, "--where").batches()
            found: Column = (
                pa.chunked_array([batch.column(0) for batch in batches], pa.bool_()).fill_null(False).to_numpy()
            )
            return found

        return holds

    @property
    def schema(self) -> pa.Schema:
        """Of `batches`: the columns of the view."""
        return self._every.schema

    def batches(self, events: Iterable[Event]) -> Iterator[pa.RecordBatch]:
        """Events with the columns of the view."""
        for block in _blocks(events):
            self._at_hand.clear()
            places: dict[SegmentDecoder, list[int]] = {}
            for at, event in enumerate(block):
                places.setdefault(event.decoder, []).append(at)
            tables = [
                self._build(decoder, pa.array([block[at].row for at in of_segment]).to_numpy())
                for decoder, of_segment in places.items()
            ]
            order = pc.sort_indices(pa.array(itertools.chain.from_iterable(places.values())))
            self._rows = pa.concat_tables(tables).take(order)
            yield from self._every.batches()

    @property
    def _every(self) -> Result:
        return Result(self._connection, f"SELECT * FROM {_VIEW}")

    def _build(self, decoder: SegmentDecoder, rows: Column) -> pa.Table:
        """Rows of a segment, whose stacks are at hand from now on."""
        header, process = decoder.segment.header, decoder.process
        batch = decoder.batch or name_batch((process.id, header.sequence, process.uid))
        self._at_hand[batch] = decoder
        return build_events(decoder, None, batch, rows).cast(schema.EVENTS)


def _blocks(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Events in blocks, each of not too many segments: these are in memory as long as it."""
    block: list[Event] = []
    segments: set[SegmentDecoder] = set()
    for event in events:
        block.append(event)
        segments.add(event.decoder)
        if len(block) >= _BLOCK or len(segments) >= _SEGMENTS:
            yield block
            block = []
            segments.clear()
    if block:
        yield block
