-- Later messages of a key do not pass one that was just set aside ($1): they lose their time.
-- Plan: the list, a lookup by primary key each, and a range of the front index, which is short.
UPDATE outbox_deferred SET due_at = NULL
WHERE seq = ANY (ARRAY (
    SELECT later.seq
    FROM unnest($1::bigint[]) AS v (seq)
    JOIN outbox_deferred AS d ON d.seq = v.seq
    CROSS JOIN LATERAL (
        SELECT l.seq FROM outbox_deferred AS l
        WHERE l.topic = d.topic AND l.message_key = d.message_key AND l.state = 'waiting'
            AND l.due_at IS NOT NULL AND l.seq > d.seq) AS later
    WHERE d.state IN ('waiting', 'parked')))
