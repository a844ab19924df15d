"""The archive: closed segments of the journal as Parquet, for any engine and for years.

    >>> from pythonaudit.archive.ingest import ingest
    >>> ingest(journal, Archive("/var/log/pythonaudit"))  # doctest: +SKIP

The format is docs/format/archive.md. The modules, in the order in which data moves (each may import those
above it):

    schema     the only list of columns, and how each is written
    typed      arguments to the columns that people filter by: path, address, command, …
    described  names and arguments of a segment's events to columns
    columns    the events of one segment as a table
    trie       the stacks of many segments as one table
    segments   a segment as a row, and back
    manifest   which parts there are, what they cover and replace; committed one entry at a time
    parts      tables to files of Parquet, durable before they count
    covered    which segments are in the archive
    release    what becomes of those that are
    ingest     segments of a journal to parts
    compact    many small parts to few large ones
    numbers    columns of Arrow as columns of numpy, without loading much
    stored     parts of one batch back to segments
    holding    which segments of a batch hold events of some names
    reader     the archive beside a journal, while segments move
"""
