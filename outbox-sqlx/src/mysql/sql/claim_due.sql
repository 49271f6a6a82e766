-- Messages set aside, by place. A waiting one that is due is the head of its key; a scheduled one may be behind.
-- Plan: the list, a lookup by primary key each, and one in the key index for scheduled ones.
SELECT d.seq, d.partition_no, d.id, d.topic, d.message_type, d.message_key, d.content_type, d.headers,
    d.idempotency_key, d.not_before, d.created_at, d.payload, d.attempts, d.crashes, d.in_doubt,
    d.state = 'scheduled' AND d.message_key IS NOT NULL AND EXISTS (
        SELECT 1 FROM outbox_deferred AS head FORCE INDEX (outbox_deferred_key)
        WHERE head.blocked_topic = d.topic AND head.message_key = d.message_key) AS behind,
    d.due_at IS NOT NULL AS due, CRC32(d.id)
FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
STRAIGHT_JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
