-- Messages by place, in their order. Plan: the list, and a lookup by primary key each.
SELECT m.seq, m.partition_no, m.id, m.topic, m.message_type, m.message_key, m.content_type, m.headers,
    m.idempotency_key, m.not_before, m.created_at, m.payload
FROM JSON_TABLE('{places}', '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
STRAIGHT_JOIN outbox_messages AS m FORCE INDEX (PRIMARY) ON m.seq = v.seq
