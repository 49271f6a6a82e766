-- Messages set aside, by place. A waiting one that is due is the head of its key; a scheduled one may be behind.
-- Plan: the list, a lookup by primary key each, and one in the key index for scheduled ones.
SELECT d.seq, d.partition_no, d.id, d.topic, d.message_type, d.message_key, d.content_type, d.headers::text,
    d.idempotency_key, d.not_before, d.created_at, d.payload, d.attempts, d.crashes, d.in_doubt,
    CASE WHEN d.state = 'scheduled' THEN EXISTS (
        SELECT FROM outbox_deferred AS head
        WHERE head.topic = d.topic AND head.message_key = d.message_key AND head.state IN ('waiting', 'parked'))
    ELSE false END AS behind,
    d.due_at IS NOT NULL AS due
FROM unnest($1::bigint[]) WITH ORDINALITY AS wanted (seq, n)
JOIN outbox_deferred AS d ON d.seq = wanted.seq
ORDER BY wanted.n
