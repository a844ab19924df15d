"""The journal: bytes on disk to events.

    >>> from pythonaudit.journal.reader import Journal
    >>> for event in Journal("/var/log/pythonaudit").events():  # doctest: +SKIP
    ...     print(event.to_json())

The format is docs/format/journal.md. The modules, in the order in which data moves (each may import
those above it):

    layout    the format in numbers: shapes of the structures, constants
    files     which files are journals, and private copies of them
    chunks    header and chain of chunks of one segment, with what is damaged
    summary   how much is in a segment, without decoding it
    liveness  whether a process lives
    segment   entries and definitions of one segment, as numpy columns
    fields    arguments and free-form names to named fields
    process   who recorded: attributes of a process, and what it lost
    stacks    the stacks of one segment
    packages  which distribution or project a file of code belongs to
    attribution  the events of one segment to packages
    decode    columns to events, and events to JSON
    merge     events of many segments in one order
    filters   which events are wanted
    follow    new events of running processes
    survey    processes, counts and losses, all segments together
    reader    all that for one directory
    arguments  those of a segment's events, many at a time
    messages  free-form names to named fields, many at a time
    arrow     segments to an Arrow table

`layout`, `files`, `chunks`, `summary` and `liveness` need the standard library only; the rest numpy and orjson
(`arguments`, `messages` and `arrow` also pyarrow): `pip install 'pythonaudit[tools]'`.
"""
