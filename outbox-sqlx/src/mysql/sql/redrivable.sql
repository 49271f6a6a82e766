-- Of these places, those that a redrive can send again. Plan: the list, and a lookup by primary key each.
SELECT d.seq, d.state
FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS v
STRAIGHT_JOIN outbox_deferred AS d FORCE INDEX (PRIMARY) ON d.seq = v.seq
WHERE d.state IN ('dead', 'parked')
    OR (d.state = 'waiting' AND d.due_at IS NOT NULL AND (d.attempts > 0 OR d.crashes > 0 OR d.in_doubt))
