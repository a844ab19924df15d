-- One row a stack: a frame, and the stack of its caller. `events` refers to it by (batch, stack_id).
CREATE VIEW stacks AS
SELECT
    batch,
    stack AS stack_id,
    parent AS parent_id,
    file,
    line,
    function,
    library,
    package,
    version
FROM all_stacks;
