-- The keys [[topic, key], ...] may have lost their head. Where the new one waits without a time, the first hundred
-- become due, up to one that is parked. Plan: a few short ranges of the key index per key.
WITH keys (topic, message_key) AS MATERIALIZED (
    SELECT value ->> 0, value ->> 1 FROM json_each(?1)
)
UPDATE outbox_deferred SET due_at = ?2
WHERE seq IN (
    SELECT d.seq
    FROM keys
    CROSS JOIN outbox_deferred AS d
        ON d.topic = keys.topic AND d.message_key = keys.message_key AND d.state IN ('waiting', 'parked')
    WHERE NOT EXISTS (
            SELECT 1 FROM outbox_deferred AS front
            WHERE front.topic = keys.topic AND front.message_key = keys.message_key
                AND front.state = 'waiting' AND front.due_at IS NOT NULL)
        AND d.seq <= (
            SELECT max(f.seq) FROM (
                SELECT seq FROM outbox_deferred AS x
                WHERE x.topic = keys.topic AND x.message_key = keys.message_key AND x.state IN ('waiting', 'parked')
                ORDER BY x.seq LIMIT 100) AS f)
        AND d.seq < coalesce((
            SELECT min(f.seq) FROM (
                SELECT seq, state FROM outbox_deferred AS x
                WHERE x.topic = keys.topic AND x.message_key = keys.message_key AND x.state IN ('waiting', 'parked')
                ORDER BY x.seq LIMIT 100) AS f
            WHERE f.state = 'parked'), 9223372036854775807))
