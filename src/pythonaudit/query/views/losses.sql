-- What was not recorded or cannot be read, by process and reason; in events, or what the reason says.
CREATE VIEW losses AS
SELECT
    process,
    reason,
    max("time") AS "time",
    sum(count)::BIGINT AS count
FROM (
    SELECT process, "end" AS "time", reason, (losses::JSON ->> reason)::BIGINT AS count
    FROM (SELECT process, "end", losses, unnest(json_keys(losses::JSON)) AS reason FROM all_segments)
    UNION ALL
    SELECT process, "end", 'damaged', list_sum((damage::JSON -> '$[*].length')::BIGINT[])
    FROM all_segments
    WHERE damage IS NOT NULL
)
GROUP BY process, reason;
