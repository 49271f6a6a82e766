-- Dead letters join at the end, as fresh messages with a new place. Plan: the list, a lookup by primary key each.
INSERT INTO outbox_messages
    (id, topic, message_type, message_key, content_type, headers, idempotency_key, not_before, created_at, payload)
SELECT d.id, d.topic, d.message_type, d.message_key, d.content_type, d.headers, d.idempotency_key, d.not_before,
    d.created_at, d.payload
FROM json_each(?1) AS wanted
CROSS JOIN outbox_deferred AS d ON d.seq = wanted.value
ORDER BY d.seq;
DELETE FROM outbox_deferred WHERE seq IN (SELECT value FROM json_each(?1));
