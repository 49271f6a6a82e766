-- Plan: a lookup by primary key.
SELECT m.seq, m.partition_no, m.id, m.topic, m.message_type, m.message_key, m.content_type, m.headers,
    m.idempotency_key, m.not_before, m.created_at, m.payload
FROM outbox_messages AS m
WHERE m.seq = ?
