"""The view `events` over rows of segments that are at hand, one segment or one block of events at a time.

    given = Given(journal, wanted)
    condition = given.condition("pid > 9")       # for `EventFilter.condition`

What is asked in SQL while a journal is read in its own order: nothing is kept of what was asked before, however
much there is to read. The connection sees the other views as well, so that a condition can look there.
"""

from __future__ import annotations

from importlib import resources

import pyarrow as pa

from pythonaudit.archive import schema
from pythonaudit.archive.columns import build_events
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.filters import EventFilter, RowCondition
from pythonaudit.journal.reader import Journal
from pythonaudit.journal.segment import Column
from pythonaudit.query.connection import check_condition, connect
from pythonaudit.query.live import Stream, name_batch
from pythonaudit.query.results import Result
from pythonaudit.query.where import build_condition

_ROWS, _VIEW = "given_rows", "given_events"


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

    def _build(self, decoder: SegmentDecoder, rows: Column) -> pa.Table:
        """Rows of a segment, whose stacks are at hand from now on."""
        batch = decoder.batch or name_batch(decoder.key)
        self._at_hand[batch] = decoder
        return build_events(decoder, None, batch, rows)
