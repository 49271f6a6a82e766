-- The act, with what had happened so far. Plan: the list, and a lookup by primary key each.
INSERT INTO outbox_acts (message_id, what, who, why, at, attempts, crashes, in_doubt, failures)
SELECT m.id, 'discard', ?2, ?3, ?4, 0, 0, 0, '[]'
FROM json_each(?1) AS wanted
CROSS JOIN outbox_messages AS m ON m.seq = wanted.value
UNION ALL
SELECT d.id, 'discard', ?2, ?3, ?4, d.attempts, d.crashes, d.in_doubt, d.failures
FROM json_each(?1) AS wanted
CROSS JOIN outbox_deferred AS d ON d.seq = wanted.value
