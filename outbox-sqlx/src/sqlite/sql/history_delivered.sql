-- Delivered messages join the history: [[place, receipt], ...]. Plan: the list, and a lookup by primary key each.
INSERT OR REPLACE INTO outbox_history
    (seq, id, topic, message_type, message_key, state, attempts, crashes, in_doubt, failures, receipt, created_at,
     ended_at)
SELECT m.seq, m.id, m.topic, m.message_type, m.message_key, 'delivered', 0, 0, 0, '[]', v.value ->> 1,
    m.created_at, ?2
FROM json_each(?1) AS v
CROSS JOIN outbox_messages AS m ON m.seq = v.value ->> 0
UNION ALL
SELECT d.seq, d.id, d.topic, d.message_type, d.message_key, 'delivered', d.attempts, d.crashes, d.in_doubt,
    d.failures, v.value ->> 1, d.created_at, ?2
FROM json_each(?1) AS v
CROSS JOIN outbox_deferred AS d ON d.seq = v.value ->> 0
