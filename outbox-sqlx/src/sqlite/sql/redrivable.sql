-- Of these places, those that a redrive can send again. Plan: the list, and a lookup by primary key each.
SELECT d.seq, d.state
FROM json_each(?1) AS wanted
CROSS JOIN outbox_deferred AS d ON d.seq = wanted.value
WHERE d.state IN ('dead', 'parked')
    OR (d.state = 'waiting' AND d.due_at IS NOT NULL AND (d.attempts > 0 OR d.crashes > 0 OR d.in_doubt))
