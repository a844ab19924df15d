-- Searched for pieces, since a regular expression takes several times as long.
CREATE OR REPLACE MACRO is_to_be_resolved(name) AS
    (name <> '' AND NOT starts_with(name, '/')) OR contains(name, '//') OR (contains(name, '/.') AND (
        contains(name, '/./') OR contains(name, '/../') OR ends_with(name, '/.') OR ends_with(name, '/..')));

-- One row an event, with the columns of its JSON and what people filter by.
CREATE VIEW events AS
SELECT
    time,
    event,
    category,
    source,
    template,
    args::JSON AS args,
    coalesce(fields, event_fields(event, args, python))::JSON AS fields,
    path,
    target,
    CASE WHEN is_to_be_resolved(path) THEN resolve_path(path, cwd) ELSE path END AS full_path,
    CASE WHEN is_to_be_resolved(target) THEN resolve_path(target, cwd) ELSE target END AS full_target,
    address,
    port,
    command,
    module,
    url,
    process || '/' || slot || '/' || number AS id,
    process,
    slot,
    number,
    host,
    boot,
    pid,
    ppid,
    tid,
    thread,
    interpreter,
    run,
    python,
    exe,
    argv::JSON AS argv,
    cwd,
    uid,
    "user",
    stack_frames(batch, stack)::JSON AS stack,
    batch,
    stack AS stack_id,
    file,
    line,
    function,
    package,
    version,
    context::JSON AS context,
    notes,
    epoch_us(time) * 1000 + nanosecond AS time_ns
FROM all_events;
