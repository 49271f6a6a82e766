-- Fresh messages from the beginning: after place $1 up to $2, in the slots $3, as visible in snapshot $4. Those that
-- carry a transaction which this server has yet to come to are from elsewhere, such as a restored dump.
-- Plan: a range of the primary key.
SELECT m.seq, m.partition_no, m.id, m.topic, m.message_type, m.message_key, m.content_type, m.headers::text,
    m.idempotency_key, m.not_before, m.created_at, m.payload, tidsend(m.ctid), xid8send(m.xid)
FROM outbox_messages AS m
WHERE m.seq > $1 AND m.seq <= $2 AND m.partition_no = ANY ($3)
    AND (pg_visible_in_snapshot(m.xid, (SELECT $4::text::pg_snapshot))
        OR m.xid >= (SELECT pg_snapshot_xmax(pg_current_snapshot())))
ORDER BY m.seq
LIMIT $5
