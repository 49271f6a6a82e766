-- What a claim of session $1 needs to know, as in look.sql, and with it the first fresh messages of transactions that
-- started since the last snapshot: from transaction $2 on, in the slots $3. For a session that missed no transaction at
-- that snapshot. One row without a message if there is none.
-- Plan: that of look.sql, and a range of the index of what came since.
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
),
look AS MATERIALIZED (
    SELECT clock_timestamp() AS now,
        (SELECT s.changes FROM outbox_sessions AS s WHERE s.epoch = $1) AS changes,
        (SELECT array_agg(few.topic) || array_agg(few.message_key) FROM few) AS blocked,
        EXISTS (SELECT FROM outbox_deferred WHERE due_at IS NOT NULL) AS due,
        pg_current_snapshot() AS snapshot
)
SELECT m.seq, m.partition_no, m.id, m.topic, m.message_type, m.message_key, m.content_type, m.headers::text,
    m.idempotency_key, m.not_before, m.created_at, m.payload, tidsend(m.ctid), xid8send(m.xid),
    look.now, look.changes, look.blocked, look.due, look.snapshot::text
FROM look
LEFT JOIN LATERAL (
    SELECT o.*, o.ctid
    FROM outbox_messages AS o
    WHERE o.xid >= $2::text::xid8 AND o.xid < pg_snapshot_xmax(look.snapshot)
        AND pg_visible_in_snapshot(o.xid, look.snapshot) AND o.partition_no = ANY ($3)
    ORDER BY o.xid, o.seq + 0
    LIMIT $4) AS m ON true
ORDER BY m.xid, m.seq
