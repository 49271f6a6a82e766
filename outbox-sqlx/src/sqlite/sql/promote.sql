-- The keys [[topic, key], ...] may have lost their head. Where the new one waits without a time, the first hundred
-- become due, up to one that is parked. However many wait, a few short ranges of the key index are read per key:
-- hence the bound of each is computed first, and the index of the front named.
WITH keys (topic, message_key) AS MATERIALIZED (
    SELECT value ->> 0, value ->> 1 FROM json_each(?1)
),
bounds (topic, message_key, last) AS MATERIALIZED (
    SELECT keys.topic, keys.message_key, (
        SELECT min(max(first.seq), coalesce(min(first.seq) FILTER (WHERE first.state = 'parked') - 1, max(first.seq)))
        FROM (
            SELECT d.seq, d.state FROM outbox_deferred AS d
            WHERE d.topic = keys.topic AND d.message_key = keys.message_key AND d.state IN ('waiting', 'parked')
            ORDER BY d.seq LIMIT 100) AS first)
    FROM keys
    WHERE NOT EXISTS (
        SELECT 1 FROM outbox_deferred AS front INDEXED BY outbox_deferred_front
        WHERE front.topic = keys.topic AND front.message_key = keys.message_key
            AND front.state = 'waiting' AND front.due_at IS NOT NULL)
)
UPDATE outbox_deferred SET due_at = ?2
WHERE seq IN (
    SELECT d.seq
    FROM bounds
    CROSS JOIN outbox_deferred AS d
        ON d.topic = bounds.topic AND d.message_key = bounds.message_key AND d.state IN ('waiting', 'parked')
            AND d.seq <= bounds.last)
