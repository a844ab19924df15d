"""Questions in SQL: DuckDB over events. Home of duckdb.

>>> from pythonaudit.query.connection import select_ids
>>> select_ids(journal.to_arrow(), "event = 'open' AND (fields->>'path') LIKE '/etc/%'")
"""
