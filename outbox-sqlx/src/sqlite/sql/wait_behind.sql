-- Of the messages just set aside, those that have an earlier one of their key before them wait without a time.
-- Plan: the list, a lookup by primary key each, and one in the key index.
UPDATE outbox_deferred SET due_at = NULL
WHERE seq IN (
    SELECT d.seq
    FROM json_each(?1) AS v
    CROSS JOIN outbox_deferred AS d ON d.seq = v.value ->> 0
    WHERE d.state = 'waiting' AND d.due_at IS NOT NULL AND EXISTS (
        SELECT 1 FROM outbox_deferred AS head
        WHERE head.topic = d.topic AND head.message_key = d.message_key
            AND head.state IN ('waiting', 'parked') AND head.seq < d.seq))
