-- Keeps a session alive for ? microseconds, if it is not fenced. Plan: a lookup by primary key.
UPDATE outbox_sessions SET expires_at = TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + ?
WHERE epoch = ? AND fenced_at IS NULL
