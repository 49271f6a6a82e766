-- Of the messages just set aside ($1), those that have an earlier one of their key before them wait without a time.
-- Plan: the list, a lookup by primary key each, which is closed to the planner (LIMIT) as in hold_back, and one in the key
-- index.
UPDATE outbox_deferred SET due_at = NULL
WHERE seq = ANY (ARRAY (
    SELECT d.seq
    FROM unnest($1::bigint[]) AS v (seq)
    CROSS JOIN LATERAL (
        SELECT o.seq, o.topic, o.message_key, o.state, o.due_at
        FROM outbox_deferred AS o
        WHERE o.seq = v.seq LIMIT 1) AS d
    WHERE d.state = 'waiting' AND d.due_at IS NOT NULL
        AND (SELECT true FROM outbox_deferred AS head
             WHERE head.topic = d.topic AND head.message_key = d.message_key
                 AND head.state IN ('waiting', 'parked') AND head.seq < d.seq
             LIMIT 1)))
