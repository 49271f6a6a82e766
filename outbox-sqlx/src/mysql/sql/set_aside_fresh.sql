-- Verdicts of ? on fresh messages, in the form of set_aside_again. Plan: the list, and a lookup by primary key each.
INSERT INTO outbox_deferred
    (seq, id, topic, message_type, message_key, content_type, headers, idempotency_key, not_before, created_at,
     state, due_at, attempts, crashes, in_doubt, failures, set_aside_at, payload)
SELECT m.seq, m.id, m.topic, m.message_type, m.message_key, m.content_type, m.headers, m.idempotency_key,
    m.not_before, m.created_at, v.state, v.due_at, COALESCE(v.attempts, 0), COALESCE(v.crashes, 0),
    COALESCE(v.in_doubt, FALSE), COALESCE(v.failures, '[]'), ?, m.payload
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    seq BIGINT PATH '$[0]',
    state VARCHAR(16) CHARACTER SET utf8mb4 PATH '$[1]',
    due_at BIGINT PATH '$[2]',
    attempts INT PATH '$[3]',
    crashes INT PATH '$[4]',
    in_doubt TINYINT PATH '$[5]',
    failures LONGTEXT CHARACTER SET utf8mb4 PATH '$[6]')) AS v
STRAIGHT_JOIN outbox_messages AS m FORCE INDEX (PRIMARY) ON m.seq = v.seq
