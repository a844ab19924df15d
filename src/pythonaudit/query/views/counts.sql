-- What was counted instead of recorded, by process, event and who raised it.
CREATE VIEW counts AS
SELECT
    process,
    one ->> 'event' AS event,
    one ->> 'source' AS source,
    sum((one ->> 'count')::BIGINT)::BIGINT AS count
FROM (SELECT process, unnest((counts::JSON)::JSON[]) AS one FROM all_segments)
GROUP BY ALL;
