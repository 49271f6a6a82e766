-- Plan: a lookup by primary key.
SELECT seq, id, topic, message_type, message_key, content_type, headers, idempotency_key, not_before, created_at,
    payload
FROM outbox_messages
WHERE seq = ?1
