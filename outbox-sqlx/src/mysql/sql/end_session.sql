-- A session has ended if it owns no slot any more. Plan: a lookup by primary key, and the sixteen leases.
UPDATE outbox_sessions SET fenced_at = TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
WHERE epoch = ? AND fenced_at IS NULL AND NOT EXISTS (SELECT 1 FROM outbox_leases AS l WHERE l.epoch = ?)
