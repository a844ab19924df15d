-- One row a process (program image), from all its segments.
CREATE VIEW processes AS
SELECT
    process,
    any_value(parent) AS parent,
    any_value(host) AS host,
    any_value(boot) AS boot,
    any_value(pid) AS pid,
    any_value(ppid) AS ppid,
    any_value(pid_start) AS pid_start,
    any_value(pid_namespace) AS pid_namespace,
    any_value(uid) AS uid,
    any_value("user") AS "user",
    any_value(way) AS way,
    bool_or(canary) AS canary,
    any_value(run) AS run,
    any_value(python) AS python,
    any_value(exe) AS exe,
    any_value(argv)::JSON AS argv,
    arg_max(cwd, sequence) AS cwd,
    arg_max(attributes, sequence)::JSON AS attributes,
    min("begin") AS "begin",
    max("end") AS "end",
    min(begin_ns) AS begin_ns,
    max(end_ns) AS end_ns,
    bool_or(state = 'clean end') AS ended,
    count(*) AS segments,
    sum(events)::BIGINT AS events,
    coalesce(sum(list_sum((counts::JSON -> '$[*].count')::BIGINT[])), 0)::BIGINT AS counted
FROM all_segments
GROUP BY process;
