-- Of these places, those that a redrive can send again. Plan: the list, and a lookup by primary key each.
SELECT d.seq, d.state
FROM outbox_deferred AS d
WHERE d.seq = ANY ($1)
    AND (d.state IN ('dead', 'parked')
        OR (d.state = 'waiting' AND d.due_at IS NOT NULL AND (d.attempts > 0 OR d.crashes > 0 OR d.in_doubt)))
ORDER BY d.seq
