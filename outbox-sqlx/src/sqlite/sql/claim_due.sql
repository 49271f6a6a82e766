-- Messages set aside, by place. A waiting one that is due is the head of its key; a scheduled one may be behind.
-- Plan: the list, a lookup by primary key each, and one in the key index for scheduled ones.
SELECT d.seq, d.id, d.topic, d.message_type, d.message_key, d.content_type, d.headers, d.idempotency_key,
    d.not_before, d.created_at, d.payload, d.attempts, d.crashes, d.in_doubt,
    d.state = 'scheduled' AND EXISTS (
        SELECT 1 FROM outbox_deferred AS head
        WHERE head.topic = d.topic AND head.message_key = d.message_key AND head.state IN ('waiting', 'parked'))
        AS behind
FROM json_each(?1) AS wanted
CROSS JOIN outbox_deferred AS d ON d.seq = wanted.value
WHERE d.due_at IS NOT NULL
