-- The act, with what had happened so far; the failures only of those that leave their row.
-- Plan: the list, and a lookup by primary key each.
INSERT INTO outbox_acts (message_id, what, who, why, at, attempts, crashes, in_doubt, failures)
SELECT d.id, 'redrive', $2, $3, $4::timestamptz, d.attempts, d.crashes, d.in_doubt,
    CASE d.state WHEN 'dead' THEN d.failures ELSE '[]'::jsonb END
FROM outbox_deferred AS d
WHERE d.seq = ANY ($1)
