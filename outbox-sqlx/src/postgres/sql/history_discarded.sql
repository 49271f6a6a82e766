-- Discarded messages join the history. Plan: the list, and a lookup by primary key each.
INSERT INTO outbox_history
    (seq, id, topic, message_type, message_key, state, attempts, crashes, in_doubt, failures, created_at, ended_at)
SELECT m.seq, m.id, m.topic, m.message_type, m.message_key, 'discarded', 0, 0, false, '[]'::jsonb, m.created_at, $2::timestamptz
FROM outbox_messages AS m
WHERE m.seq = ANY ($1)
UNION ALL
SELECT d.seq, d.id, d.topic, d.message_type, d.message_key, 'discarded', d.attempts, d.crashes, d.in_doubt,
    d.failures, d.created_at, $2::timestamptz
FROM outbox_deferred AS d
WHERE d.seq = ANY ($1)
ON CONFLICT DO NOTHING
