-- Dead letters join at the end, as fresh messages with a new place, in their order.
-- Plan: the list, a lookup by primary key each.
INSERT INTO outbox_messages
    (id, topic, message_type, message_key, content_type, headers, idempotency_key, not_before, created_at, payload)
SELECT d.id, d.topic, d.message_type, d.message_key, d.content_type, d.headers, d.idempotency_key, d.not_before,
    d.created_at, d.payload
FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
STRAIGHT_JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
ORDER BY d.seq
