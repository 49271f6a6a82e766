-- Discarded messages join the history. Plan: the list, and a lookup by primary key each.
INSERT OR REPLACE INTO outbox_history
    (seq, id, topic, message_type, message_key, state, attempts, crashes, in_doubt, failures, created_at, ended_at)
SELECT m.seq, m.id, m.topic, m.message_type, m.message_key, 'discarded', 0, 0, 0, '[]', m.created_at, ?2
FROM json_each(?1) AS wanted
CROSS JOIN outbox_messages AS m ON m.seq = wanted.value
UNION ALL
SELECT d.seq, d.id, d.topic, d.message_type, d.message_key, 'discarded', d.attempts, d.crashes, d.in_doubt,
    d.failures, d.created_at, ?2
FROM json_each(?1) AS wanted
CROSS JOIN outbox_deferred AS d ON d.seq = wanted.value
