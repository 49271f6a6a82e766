-- Session $1 has ended if it owns no slot any more. Plan: a lookup by primary key, and the sixteen leases.
UPDATE outbox_sessions SET fenced_at = clock_timestamp()
WHERE epoch = $1 AND fenced_at IS NULL AND NOT EXISTS (SELECT FROM outbox_leases AS l WHERE l.epoch = $1)
