-- Fences session ?, unless it renewed meanwhile. Plan: a lookup by primary key.
UPDATE outbox_sessions SET fenced_at = TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
WHERE epoch = ? AND fenced_at IS NULL AND expires_at <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
