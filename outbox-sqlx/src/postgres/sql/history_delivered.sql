-- Delivered messages ($1, with the receipts $2) join the history. Plan: the list, a lookup by primary key each.
INSERT INTO outbox_history
    (seq, id, topic, message_type, message_key, state, attempts, crashes, in_doubt, failures, receipt, created_at,
     ended_at)
SELECT m.seq, m.id, m.topic, m.message_type, m.message_key, 'delivered', 0, 0, false, '[]'::jsonb, v.receipt,
    m.created_at, $3::timestamptz
FROM unnest($1::bigint[], $2::text[]) AS v (seq, receipt)
JOIN outbox_messages AS m ON m.seq = v.seq
UNION ALL
SELECT d.seq, d.id, d.topic, d.message_type, d.message_key, 'delivered', d.attempts, d.crashes, d.in_doubt,
    d.failures, v.receipt, d.created_at, $3::timestamptz
FROM unnest($1::bigint[], $2::text[]) AS v (seq, receipt)
JOIN outbox_deferred AS d ON d.seq = v.seq
ON CONFLICT DO NOTHING
