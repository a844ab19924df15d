-- One row a segment of the journal, archived or not.
CREATE VIEW segments AS
SELECT
    process,
    sequence,
    batch,
    file,
    state,
    "begin",
    "end",
    begin_ns,
    end_ns,
    events,
    counts::JSON AS counts,
    losses::JSON AS losses,
    damage::JSON AS damage
FROM all_segments;
