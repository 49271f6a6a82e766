-- What a claim of session $1 needs to know before it reads rows. Of the blocked keys the first seventeen: their topics,
-- and as many keys.
-- Plan: a lookup by primary key, the first entry of a partial index, and one entry of the key index for each blocked key
-- that is named, however many messages it has.
WITH RECURSIVE blocked (topic, message_key) AS (
    (SELECT topic, message_key FROM outbox_deferred
     WHERE message_key IS NOT NULL AND state IN ('waiting', 'parked')
     ORDER BY topic, message_key LIMIT 1)
    UNION ALL
    SELECT next.topic, next.message_key
    FROM blocked
    CROSS JOIN LATERAL (
        SELECT d.topic, d.message_key FROM outbox_deferred AS d
        WHERE d.message_key IS NOT NULL AND d.state IN ('waiting', 'parked')
            AND (d.topic, d.message_key) > (blocked.topic, blocked.message_key)
        ORDER BY d.topic, d.message_key LIMIT 1) AS next
),
few AS MATERIALIZED (
    SELECT topic, message_key FROM blocked LIMIT 17
)
SELECT clock_timestamp(),
    (SELECT s.changes FROM outbox_sessions AS s WHERE s.epoch = $1),
    (SELECT array_agg(few.topic) || array_agg(few.message_key) FROM few) AS blocked,
    EXISTS (SELECT FROM outbox_deferred WHERE due_at IS NOT NULL) AS due,
    pg_current_snapshot()::text,
    (SELECT last_value FROM outbox_places) AS last
