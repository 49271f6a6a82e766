-- Later messages of a key do not pass one that was just set aside ($1): they lose their time.
-- Plan: the list, a lookup by primary key each, and a range of the front index, which is short. Both lookups are closed to
-- the planner (LIMIT, OFFSET): what it sees through, it turns around while the table looks small, and reads an index
-- through for each place.
UPDATE outbox_deferred SET due_at = NULL
WHERE seq = ANY (ARRAY (
    SELECT later.seq
    FROM unnest($1::bigint[]) AS v (seq)
    CROSS JOIN LATERAL (
        SELECT o.seq, o.topic, o.message_key, o.state FROM outbox_deferred AS o WHERE o.seq = v.seq LIMIT 1) AS d
    CROSS JOIN LATERAL (
        SELECT l.seq FROM outbox_deferred AS l
        WHERE l.topic = d.topic AND l.message_key = d.message_key AND l.state = 'waiting'
            AND l.due_at IS NOT NULL AND l.seq > d.seq
        OFFSET 0) AS later
    WHERE d.state IN ('waiting', 'parked')))
