-- The act, with what had happened so far. Plan: the list, and a lookup by primary key each.
INSERT INTO outbox_acts (message_id, what, who, why, at, attempts, crashes, in_doubt, failures)
SELECT m.id, 'discard', $2, $3, $4::timestamptz, 0, 0, false, '[]'::jsonb
FROM outbox_messages AS m
WHERE m.seq = ANY ($1)
UNION ALL
SELECT d.id, 'discard', $2, $3, $4::timestamptz, d.attempts, d.crashes, d.in_doubt, d.failures
FROM outbox_deferred AS d
WHERE d.seq = ANY ($1)
