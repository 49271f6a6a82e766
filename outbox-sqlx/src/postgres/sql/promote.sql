-- The keys (topics $1, keys $2) may have lost their head. Where the new one waits without a time, the first hundred
-- become due ($3), up to one that is parked. However many wait, a few short ranges of the key index are read per key,
-- the last of them closed to the planner (OFFSET) as in hold_back.
WITH bounds AS MATERIALIZED (
    SELECT keys.topic, keys.message_key, bound.last
    FROM unnest($1::text[], $2::text[]) AS keys (topic, message_key)
    CROSS JOIN LATERAL (
        SELECT least(max(first.seq), min(first.seq) FILTER (WHERE first.state = 'parked') - 1) AS last
        FROM (
            SELECT d.seq, d.state FROM outbox_deferred AS d
            WHERE d.topic = keys.topic AND d.message_key = keys.message_key AND d.state IN ('waiting', 'parked')
            ORDER BY d.seq LIMIT 100) AS first) AS bound
    WHERE NOT EXISTS (
        SELECT FROM outbox_deferred AS front
        WHERE front.topic = keys.topic AND front.message_key = keys.message_key
            AND front.state = 'waiting' AND front.due_at IS NOT NULL)
)
UPDATE outbox_deferred SET due_at = $3
WHERE seq = ANY (ARRAY (
    SELECT d.seq
    FROM bounds
    CROSS JOIN LATERAL (
        SELECT w.seq FROM outbox_deferred AS w
        WHERE w.topic = bounds.topic AND w.message_key = bounds.message_key AND w.state IN ('waiting', 'parked')
            AND w.seq <= bounds.last
        OFFSET 0) AS d))
