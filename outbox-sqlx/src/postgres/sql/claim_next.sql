-- What a claim of session $1 needs to know, as in look.sql, and with it the first fresh messages of transactions that
-- started since the last snapshot: from transaction $2 on, in the slots $3. For a session that missed no transaction at
-- that snapshot. One row without a message if there is none.
-- Plan: that of look.sql, and a range of the index of what came since.
WITH look AS MATERIALIZED (
    SELECT clock_timestamp() AS now,
        (SELECT s.changes FROM outbox_sessions AS s WHERE s.epoch = $1) AS changes,
        EXISTS (SELECT FROM outbox_deferred WHERE message_key IS NOT NULL AND state IN ('waiting', 'parked')) AS blocked,
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
