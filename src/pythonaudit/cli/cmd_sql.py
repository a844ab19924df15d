"""`pythonaudit sql`: one SELECT over the views."""

from __future__ import annotations

import argparse
import time

from pythonaudit.cli import access, filters, tables
from pythonaudit.cli.ourselves import own_process
from pythonaudit.journal.filters import EventFilter
from pythonaudit.query.connection import VIEWS, connect
from pythonaudit.query.results import Result

_EPILOG = f"""\
views: {", ".join(VIEWS)} (docs/reference/views.md)

examples:
  pythonaudit sql 'SELECT event, count(*) AS events FROM events GROUP BY event ORDER BY events DESC'
  pythonaudit sql "SELECT package, address, count(*) FROM events WHERE category = 'network' GROUP BY ALL"
  pythonaudit sql --format parquet 'SELECT * FROM events' > events.parquet
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    help_query = "in the SQL of DuckDB; it reads the views and nothing else"
    parser.add_argument("query", type=filters.plain, metavar="SELECT", help=help_query)
    tables.add_format(parser)
    filters.add_reach(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the rows; always 0."""
    journal = filters.open_journal(args.dir, args)
    reach = filters.select_reach(args, time.time_ns())
    wanted = EventFilter(
        since_ns=reach.since_ns, until_ns=reach.until_ns, hosts=reach.hosts, without=own_process()
    )
    with (
        connect(journal, wanted) as connection,
        Result(connection, args.query, "sql") as result,
    ):
        access.shown(tables.write(result, args.format), "rows")
    return 0
