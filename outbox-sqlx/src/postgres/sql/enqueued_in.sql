-- The rows that the running transaction wrote. Plan: a range of the index of what came since.
SELECT m.seq, m.partition_no, m.id, m.topic, m.message_type, m.message_key, m.content_type, m.headers::text,
    m.idempotency_key, m.not_before, m.created_at, m.payload
FROM outbox_messages AS m
WHERE m.xid = pg_current_xact_id_if_assigned()
ORDER BY m.xid, m.seq + 0
