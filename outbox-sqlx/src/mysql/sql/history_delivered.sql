-- Delivered messages, each with its receipt, join the history at ?. Plan: the list, a lookup by primary key each.
INSERT IGNORE INTO outbox_history
    (seq, id, topic, message_type, message_key, state, attempts, crashes, in_doubt, failures, receipt, created_at,
     ended_at)
SELECT v.seq, COALESCE(m.id, d.id), COALESCE(m.topic, d.topic), COALESCE(m.message_type, d.message_type),
    COALESCE(m.message_key, d.message_key), 'delivered', COALESCE(d.attempts, 0), COALESCE(d.crashes, 0),
    COALESCE(d.in_doubt, FALSE), COALESCE(d.failures, '[]'), v.receipt, COALESCE(m.created_at, d.created_at), ?
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    seq BIGINT PATH '$[0]',
    receipt LONGTEXT CHARACTER SET utf8mb4 PATH '$[1]')) AS v
LEFT JOIN outbox_messages AS m FORCE INDEX (PRIMARY) ON m.seq = v.seq
LEFT JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
WHERE m.seq IS NOT NULL OR d.seq IS NOT NULL
