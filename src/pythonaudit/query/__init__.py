"""Questions in SQL over the archive and the journal as one. Home of duckdb.

>>> from pythonaudit.query.connection import connect
>>> with connect(journal) as views:  # doctest: +SKIP
...     views.execute("SELECT event, count(*) FROM events GROUP BY event").fetchall()

where       filters as conditions of SQL
functions   what views compute in Python: fields, stacks, whole paths
live        the journal as tables of the archive's shape
connection  the views (views/*.sql) over both, closed to everything else
results     the rows of a query, as they come
binary      rows as Parquet or Arrow
given       the view `events` over what somebody is reading: conditions in the order of the journal
generalise  paths, commands, addresses without what varies from run to run
behaviour   what processes did, as rows that can be compared
diff        what one side has that the other has not
callers     the tree of frames that events come from
flame       that tree in the formats of flame graphs; flame_page: as HTML
who         which line of code did what to what
"""
