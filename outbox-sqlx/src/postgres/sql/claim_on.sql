-- Fresh messages of transactions that started since the last snapshot: after place $2 of transaction $1, before
-- transaction $3 and visible in snapshot $4, which begins at $3; in the slots $5.
-- Plan: a range of the index of what came since.
SELECT m.seq, m.partition_no, m.id, m.topic, m.message_type, m.message_key, m.content_type, m.headers::text,
    m.idempotency_key, m.not_before, m.created_at, m.payload, tidsend(m.ctid), xid8send(m.xid)
FROM outbox_messages AS m
WHERE (m.xid, m.seq + 0) > ($1::text::xid8, $2) AND m.xid < $3::text::xid8
    AND pg_visible_in_snapshot(m.xid, (SELECT $4::text::pg_snapshot)) AND m.partition_no = ANY ($5)
ORDER BY m.xid, m.seq + 0
LIMIT $6
